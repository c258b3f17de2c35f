# Start the unit of the Debian package, or install the one that the wheel's version of Conductor prints. This recipe
# subscribes to the resources that supervise depends on, so that the other recipes also work without it.
deb = node['conductor']['deb']
host = node['conductor']['host'].to_h
drop_in = '/etc/systemd/system/conductor-supervise.service.d'

# The unit can make only existing directories writable. The recipe nginx creates the others.
directory host['state_dir'] || ConductorCookbook::STATE_DIR do
  owner 'root'
  group 'root'
  mode '0700'
  recursive true
end

directory drop_in do
  owner 'root'
  group 'root'
  mode '0755'
end

template "#{drop_in}/conductor.conf" do
  source 'supervise_service.conf.erb'
  owner 'root'
  group 'root'
  mode '0644'
  variables(
    paths: ConductorCookbook.moved_paths(host),
    state_dir: host['state_dir'],
    digest: ConductorCookbook.digest(host)
  )
end

systemd_unit 'conductor-supervise.service' do
  content(lazy { shell_out!('/usr/local/bin/conductor', 'supervise', '--print-unit').stdout }) unless deb
  action deb ? %i(enable start) : %i(create enable start)
  subscribes :reload, 'conductor_definitions[/etc/conductor/services.yml]', :delayed
end

# A restart does not stop containers. Chef also runs delayed notifications after a failed run, when the unit may not
# exist yet.
units = %w(/etc /usr/lib).map { |directory| "-e #{directory}/systemd/system/conductor-supervise.service" }
execute 'restart conductor-supervise' do
  command 'systemctl daemon-reload && systemctl try-restart conductor-supervise.service'
  action :nothing
  only_if "test #{units.join(' -o ')}"
  subscribes :run, "conductor_install[#{node['conductor']['wheel']}]", :delayed unless deb
  subscribes :run, "template[#{drop_in}/conductor.conf]", :delayed
end
