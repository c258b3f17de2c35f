# The unit is Conductor's own, of the version that is installed.
systemd_unit 'conductor-supervise.service' do
  content(lazy { shell_out!('/usr/local/bin/conductor', 'supervise', '--print-unit').stdout })
  action [:create, :enable, :start]
end
