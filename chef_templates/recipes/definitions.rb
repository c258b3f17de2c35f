# A reload re-reads, and supervise re-reads a changed file by itself as well; neither deploys.
conductor_definitions '/etc/conductor/services.yml' do
  services_bag node['conductor']['data_bags']['services']
  hosts_bag node['conductor']['data_bags']['hosts']
  secrets_bag node['conductor']['data_bags']['secrets']
  host node['conductor']['host'].to_h
  defaults node['conductor']['defaults'].to_h
  notifies :reload, 'systemd_unit[conductor-supervise.service]', :delayed
end
