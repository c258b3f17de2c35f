package 'logrotate'

template '/etc/logrotate.d/conductor' do
  source 'logrotate.erb'
  owner 'root'
  group 'root'
  mode '0644'
  variables(state_dir: node['conductor']['host']['state_dir'] || ConductorCookbook::STATE_DIR)
end
