# Renders templates of the cookbook. COOKBOOK names another cookbook's directory.
#
#   ruby render.rb TEMPLATE JSON    prints a template as Chef renders it; JSON maps its variables (-: read it from stdin)
#   ruby render.rb --batch          reads [[TEMPLATE, VARIABLES], ...], prints [[by Erubis, by ERB], ...]

require 'json'
require_relative 'rendering'

cookbook = ENV.fetch('COOKBOOK') { File.expand_path('../../../chef_templates', __dir__) }
Rendering.load_libraries(cookbook)
source = ->(name) { File.read(File.join(cookbook, 'templates', name), encoding: 'UTF-8') }
$stdin.set_encoding('UTF-8')
$stdout.set_encoding('UTF-8')

if ARGV == ['--batch']
  rendered = JSON.parse($stdin.read).map do |name, variables|
    [Rendering.erubis(source.call(name), variables), Rendering.erb(source.call(name), variables)]
  end
  puts JSON.generate(rendered)
elsif ARGV.size == 2
  variables = JSON.parse(ARGV[1] == '-' ? $stdin.read : ARGV[1].dup.force_encoding('UTF-8'))
  print Rendering.erubis(source.call(ARGV[0]), variables)
else
  abort 'usage: render.rb TEMPLATE JSON | render.rb --batch'
end
