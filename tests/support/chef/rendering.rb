# Renders a cookbook's template with Erubis, as Chef does, and with Ruby's ERB.

require 'erb'
require 'erubis'

module Rendering
  module_function

  # Chef sets a template's variables as instance variables of the object that evaluates it.
  def context(variables)
    variables.each_with_object(Object.new) { |(name, value), made| made.instance_variable_set("@#{name}", value) }
  end

  def erubis(source, variables)
    Erubis::Eruby.new(source).evaluate(context(variables))
  end

  def erb(source, variables)
    ERB.new(source, trim_mode: '-').result(context(variables).instance_eval { binding })
  end

  def load_libraries(cookbook)
    Dir.glob(File.join(cookbook, 'libraries', '*.rb')).sort.each { |path| require File.expand_path(path) }
  end
end
