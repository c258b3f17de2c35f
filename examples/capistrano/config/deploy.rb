# Settings for all stages.
lock "~> 3.17"

# The services of each role, by their ids in Conductor's definitions. A host runs the services of all its roles.
set :services, {
  app: %w[shop_web shop_worker],
  cron: %w[shop_cron]
}

set :scm, nil # no code is checked out on the hosts
# Show Conductor's progress, which it writes to stderr; its JSON on stdout is for the tasks.
set :format_options, command_output: :stderr, truncate: false, log_file: nil

# Reject hosts that are not in known_hosts.
set :ssh_options, verify_host_key: :always, keepalive: true, keepalive_interval: 15
