# Changed definitions are not deployed. The recipe supervise makes supervise reload them.
conductor_definitions '/etc/conductor/services.yml' do
  services_bag node['conductor']['data_bags']['services']
  hosts_bag node['conductor']['data_bags']['hosts']
  secrets_bag node['conductor']['data_bags']['secrets']
  host node['conductor']['host'].to_h
  defaults node['conductor']['defaults'].to_h
end
