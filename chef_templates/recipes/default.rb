# Set up a host that already has Docker Engine and nginx.
include_recipe 'conductor::install'
include_recipe 'conductor::definitions'
include_recipe 'conductor::nginx'
include_recipe 'conductor::supervise'
include_recipe 'conductor::web'
include_recipe 'conductor::deploys'
