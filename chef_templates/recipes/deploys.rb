users = ConductorCookbook.valid_deploy_users(node['conductor']['deploy_users'].to_a)

package 'sudo' unless users.empty?

template '/etc/sudoers.d/conductor' do
  source 'sudoers.erb'
  owner 'root'
  group 'root'
  mode '0440'
  variables(users: users)
  verify '/usr/sbin/visudo -cf %{path}'
  action users.empty? ? :delete : :create
end
