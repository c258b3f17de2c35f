# Prepare nginx. `conductor nginx install` writes the included files, and what nginx needs to start after a reboot.
include_dir = (node['conductor']['host']['nginx'] || {})['include_dir'] || ConductorCookbook::INCLUDE_DIR

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
