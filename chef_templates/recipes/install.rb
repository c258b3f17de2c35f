raise ConductorCookbook::Error, "cannot install Conductor: set node['conductor']['wheel'] to a path or URL" unless node['conductor']['wheel']

conductor_install node['conductor']['wheel'] do
  checksum node['conductor']['wheel_checksum'] if node['conductor']['wheel_checksum']
  pip_options node['conductor']['pip_options'].to_a
end
