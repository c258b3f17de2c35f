# Conductor's wheel: a path on the host, or a URL (then with its SHA-256).
default['conductor']['wheel'] = nil
default['conductor']['wheel_checksum'] = nil
# More words for pip, for example %w(--no-index --find-links /srv/wheels) on hosts that reach no package index.
default['conductor']['pip_options'] = []

# Which services there are and where they run, which machines there are, and what services must not show.
default['conductor']['data_bags']['services'] = 'conductor_services'
default['conductor']['data_bags']['hosts'] = 'conductor_hosts'
default['conductor']['data_bags']['secrets'] = 'conductor_secrets'

# `host:` and `defaults:` of the definitions.
default['conductor']['host'] = {}
default['conductor']['defaults'] = {}

# Where nginx includes files inside http {}.
default['conductor']['nginx_conf_dir'] = '/etc/nginx/conf.d'

# Who may upgrade and roll back with sudo.
default['conductor']['deploy_users'] = []
