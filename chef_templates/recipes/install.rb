wheel = node['conductor']['wheel']
deb = node['conductor']['deb']

if deb
  package 'python3'
  # The scripts in the package restart supervise. The action `install` would keep an older installed version.
  dpkg_package 'conductor' do
    source deb
    action :upgrade
  end
elsif wheel
  conductor_install wheel do
    checksum node['conductor']['wheel_checksum'] if node['conductor']['wheel_checksum']
    pip_options node['conductor']['pip_options'].to_a
    extras node['conductor']['web']['enabled'] ? %w(web) : []
  end
else
  raise ConductorCookbook::Error,
        "cannot install Conductor: set node['conductor']['wheel'] to a path or URL, or node['conductor']['deb'] to a path"
end
