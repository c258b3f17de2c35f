# Conductor's wheel: a path on the host, or a URL with its SHA-256 checksum. Required.
default['conductor']['wheel'] = nil
default['conductor']['wheel_checksum'] = nil
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

# Users, or %group, who may upgrade and roll back with sudo.
default['conductor']['deploy_users'] = []
