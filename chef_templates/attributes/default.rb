# Conductor's wheel: a path on the host, or a URL with its SHA-256 checksum.
default['conductor']['wheel'] = nil
default['conductor']['wheel_checksum'] = nil
# Or Conductor's Debian package: a path on the host. It is used instead of the wheel.
default['conductor']['deb'] = nil
# Extra pip options, for example %w(--no-index --find-links /srv/wheels) on hosts without access to a package index.
default['conductor']['pip_options'] = []

# The data bags of services, hosts and secrets.
default['conductor']['data_bags']['services'] = 'conductor_services'
default['conductor']['data_bags']['hosts'] = 'conductor_hosts'
default['conductor']['data_bags']['secrets'] = 'conductor_secrets'

# The sections `host:` and `defaults:` of the definitions.
default['conductor']['host'] = {}
default['conductor']['defaults'] = {}

# The directory whose files nginx includes inside http {}.
default['conductor']['nginx_conf_dir'] = '/etc/nginx/conf.d'

# The status page. With a server_name, nginx serves it at https://SERVER_NAME to the users in user_file (made by htpasswd).
# The certificate, its key and that file must exist on the host. The addresses in metrics_from may read /metrics without a
# password.
default['conductor']['web']['enabled'] = false
default['conductor']['web']['server_name'] = nil
default['conductor']['web']['certificate'] = nil
default['conductor']['web']['certificate_key'] = nil
default['conductor']['web']['user_file'] = '/etc/nginx/status.htpasswd'
default['conductor']['web']['metrics_from'] = []

# Users, or %group, who may upgrade and roll back with sudo.
default['conductor']['deploy_users'] = []
