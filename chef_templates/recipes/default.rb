# A whole host. Docker Engine and nginx are there already, by whatever cookbook the site has for them.
include_recipe 'conductor::install'
include_recipe 'conductor::definitions'
include_recipe 'conductor::nginx'
include_recipe 'conductor::supervise'
include_recipe 'conductor::logs'
include_recipe 'conductor::deploys'
