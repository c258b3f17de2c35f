# What all stages have in common.
lock "~> 3.17"

# The services of each role, by their ids in Conductor's definitions. A host has those of all its roles.
set :services, {
  app: %w[shop_web shop_worker],
  cron: %w[shop_cron]
}

set :scm, nil # nothing is checked out on a host
set :format_options, truncate: false, log_file: nil # Conductor's words whole; its history keeps who deployed what

# A host that known_hosts does not have is refused.
set :ssh_options, verify_host_key: :always, keepalive: true, keepalive_interval: 15
