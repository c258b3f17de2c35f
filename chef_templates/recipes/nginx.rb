# What nginx needs of Conductor. The files it includes, and worker_shutdown_timeout, are Conductor's own to write.
runtime_dir = node['conductor']['host']['runtime_dir'] || ConductorCookbook::RUNTIME_DIR
include_dir = (node['conductor']['host']['nginx'] || {})['include_dir'] || ConductorCookbook::INCLUDE_DIR

# The flag and the sockets have to have their place before nginx starts: here for now, in tmpfiles.d for the next boot.
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

# Asked each time: what somebody has removed is put back. Where it cannot be said, the command itself says why.
execute 'conductor nginx install' do
  command %w(/usr/local/bin/conductor nginx install)
  only_if do
    shown = shell_out('/usr/local/bin/conductor', 'nginx', 'show')
    shown.exitstatus != 0 || shown.stdout.match?(/^### .*\(differs: /)
  end
end
