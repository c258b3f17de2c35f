# Converges the cookbook on the recorder. Reads a JSON mapping from standard input: cookbook, node, attributes,
# data_bags, recipes (or `resource` and `properties` of a custom resource), perform, answers. Prints recorded and
# updated resources.

require 'json'
require_relative 'recorder'

$stdin.set_encoding('UTF-8')
$stdout.set_encoding('UTF-8')
request = JSON.parse($stdin.read)
outcome = {}
begin
  run = Recorder::Run.new(request['cookbook'], request['node'], request['attributes'] || {}, request['data_bags'] || {},
                          perform: request['perform'], answers: request['answers'] || {})
  if request['resource']
    kind, name = request['resource']
    properties = request['properties'] || {}
    run.run(run.build(kind.to_sym, name, proc { properties.each { |key, value| __send__(key, value) } }))
  else
    run.converge(request['recipes'])
  end
rescue StandardError => e
  outcome['error'] = "#{e.class}: #{e.message}"
  outcome['where'] = e.backtrace.first(5)
end

if run
  outcome['recorded'] = run.recorded.map do |resource, action|
    shown = %i(owner group mode sensitive backup content source command variables).to_h { |key| [key, resource.type ? nil : resource[key]] }
    { 'resource' => resource.to_s, 'action' => action }.merge(shown.compact)
  end
  outcome['updated'] = run.updated
  outcome['fetched'] = run.fetched
end
puts JSON.generate(outcome)
