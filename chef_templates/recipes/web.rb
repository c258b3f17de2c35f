# Install the status page: the units that the installed version of Conductor prints, and nginx's server block. If the page
# is not enabled, the server block is removed. Units are left alone: an operator may have installed them by hand.
web = node['conductor']['web'].to_h
server = ConductorCookbook.web_server(web)
status = ::File.join(node['conductor']['nginx_conf_dir'], 'conductor-status.conf')

if web['enabled']
  runtime_dir = node['conductor']['host'].to_h['runtime_dir']
  options = runtime_dir ? ['--runtime-dir', runtime_dir] : []

  systemd_unit 'conductor-web.service' do
    content(lazy { shell_out!('/usr/local/bin/conductor', 'web', '--print-unit', *options).stdout })
    action :create
  end

  # systemd starts the service with the first request.
  systemd_unit 'conductor-web.socket' do
    content(lazy { shell_out!('/usr/local/bin/conductor', 'web', '--print-socket', *options).stdout })
    action [:create, :enable, :start]
  end

  # The socket cannot be restarted while the service runs. Prometheus and open pages connect again by themselves. Chef also
  # runs delayed notifications after a failed run, when the units may not exist yet.
  execute 'restart conductor-web' do
    command 'systemctl daemon-reload && systemctl stop conductor-web.service && systemctl restart conductor-web.socket'
    action :nothing
    only_if 'test -e /etc/systemd/system/conductor-web.socket'
    subscribes :run, "conductor_install[#{node['conductor']['wheel']}]", :delayed unless node['conductor']['deb']
    subscribes :run, 'systemd_unit[conductor-web.service]', :delayed
    subscribes :run, 'systemd_unit[conductor-web.socket]', :delayed
  end
end

template status do
  source 'status.conf.erb'
  owner 'root'
  group 'root'
  mode '0644'
  variables(server: server)
  verify { ConductorCookbook.web_files!(server) }
  action server ? :create : :delete
end

# This command also reloads nginx after a change of files that are not Conductor's, without losing a request.
execute 'load the status page into nginx' do
  command %w(/usr/local/bin/conductor nginx install)
  action :nothing
  subscribes :run, "template[#{status}]", :immediately
end
