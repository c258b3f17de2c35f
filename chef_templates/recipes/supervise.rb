# The unit is Conductor's own, of the version that is installed. It subscribes to what it reads, so that the recipes which
# write that can stand alone.
host = node['conductor']['host'].to_h
drop_in = '/etc/systemd/system/conductor-supervise.service.d'

# What is not there when supervise starts stays read-only for it. nginx.rb makes the other directories.
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
  variables(paths: ConductorCookbook.moved_paths(host), digest: ConductorCookbook.digest(host))
end

systemd_unit 'conductor-supervise.service' do
  content(lazy { shell_out!('/usr/local/bin/conductor', 'supervise', '--print-unit').stdout })
  action [:create, :enable, :start]
  subscribes :reload, 'conductor_definitions[/etc/conductor/services.yml]', :delayed
end

# A restart leaves containers as they are. Chef asks for it also at the end of a run that failed: of a first one, no unit
# may be there yet.
execute 'restart conductor-supervise' do
  command 'systemctl daemon-reload && systemctl try-restart conductor-supervise.service'
  action :nothing
  only_if 'test -e /etc/systemd/system/conductor-supervise.service'
  subscribes :run, "conductor_install[#{node['conductor']['wheel']}]", :delayed
  subscribes :run, "template[#{drop_in}/conductor.conf]", :delayed
end
