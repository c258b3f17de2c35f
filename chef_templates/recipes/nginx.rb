# Prepare nginx. Conductor itself writes the included files and worker_shutdown_timeout.
runtime_dir = node['conductor']['host']['runtime_dir'] || ConductorCookbook::RUNTIME_DIR
include_dir = (node['conductor']['host']['nginx'] || {})['include_dir'] || ConductorCookbook::INCLUDE_DIR

# nginx needs these directories for its sockets and the announce flag when it starts. They are created now, and by
# tmpfiles.d at each boot.
{ '' => '0755', 'nginx' => '0755', 'nginx/private' => '0700' }.each do |name, mode|
  directory ::File.join(runtime_dir, name).chomp('/') do
    owner 'root'
    group 'root'
    mode mode
  end
end

template '/etc/tmpfiles.d/conductor.conf' do
  source 'tmpfiles.conf.erb'
  owner 'root'
  group 'root'
  mode '0644'
  variables(runtime_dir: runtime_dir)
end

directory '/etc/systemd/system/nginx.service.d' do
  owner 'root'
  group 'root'
  mode '0755'
end

template '/etc/systemd/system/nginx.service.d/conductor.conf' do
  source 'nginx_service.conf.erb'
  owner 'root'
  group 'root'
  mode '0644'
  variables(runtime_dir: runtime_dir)
  notifies :run, 'execute[systemctl daemon-reload]', :immediately
end

execute 'systemctl daemon-reload' do
  action :nothing
end

directory include_dir do
  owner 'root'
  group 'root'
  mode '0755'
end

template ::File.join(node['conductor']['nginx_conf_dir'], 'conductor.conf') do
  source 'nginx_include.conf.erb'
  owner 'root'
  group 'root'
  mode '0644'
  variables(include_dir: include_dir)
end

# The check also exits non-zero when it fails; then the command runs and reports the cause.
execute 'conductor nginx install' do
  command %w(/usr/local/bin/conductor nginx install)
  not_if '/usr/local/bin/conductor nginx show --check'
end
