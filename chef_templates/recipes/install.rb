unless node['conductor']['wheel']
  raise ConductorCookbook::Error, "cannot install Conductor: set node['conductor']['wheel'] to a path or URL"
end

conductor_install node['conductor']['wheel'] do
  checksum node['conductor']['wheel_checksum'] if node['conductor']['wheel_checksum']
  pip_options node['conductor']['pip_options'].to_a
end
