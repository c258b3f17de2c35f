# The part of Chef that the cookbook uses: attributes, data bags, recipes, custom resources in unified mode, guards and
# notifications. It records all actions in Chef's order. With `perform` it also performs them.

require_relative 'resources'

# Chef's configuration.
module Chef
  Config = { file_cache_path: '/var/chef/cache' } # rubocop:disable Style/MutableConstant
end

module Recorder
  Lazy = Struct.new(:block)
  Command = Struct.new(:stdout, :stderr, :exitstatus)

  # One converge.
  class Run
    attr_reader :node, :bags, :cookbook, :recorded, :updated, :fetched

    def initialize(cookbook, node_name, attributes, bags, perform: false, answers: {})
      @cookbook = cookbook
      @bags = bags
      @perform = perform
      @answers = answers
      @recorded = []
      @updated = []
      @fetched = []
      @delayed = []
      @subscribed = Hash.new { |hash, name| hash[name] = [] }
      @queue = []
      @custom = {}
      Rendering.load_libraries(cookbook)
      @node = Node.new(node_name, cookbook, attributes)
      Dir.glob(File.join(cookbook, 'resources', '*.rb')).sort.each { |path| define(path) }
    end

    # Like Chef, run delayed notifications also after a failure.
    def converge(recipes)
      recipes.each { |name| include_recipe(name) }
      @queue.each { |resource| known!(resource) }
      failures = [failure { @queue.each { |resource| run(resource) } }]
      failures += @delayed.uniq.map { |name, action| failure { run(named(name), action) } }
      failures.compact!
      raise failures.size == 1 ? failures.first : failures.map(&:message).join("\n") unless failures.empty?
    end

    # A subscription to a resource that no recipe declares is not an error.
    def subscribe(name, *notification)
      @subscribed[name] << notification
    end

    def include_recipe(name)
      path = File.join(@cookbook, 'recipes', "#{name.delete_prefix('conductor::')}.rb")
      Scope.new(self, ->(resource) { @queue << resource }).instance_eval(File.read(path), path)
    end

    # Build a resource from its name and block; `action` is the scope of the custom resource that declares it.
    def build(kind, name, block, action = nil)
      type = @custom[kind]
      raise NoMethodError, "there is no resource or method #{kind}" unless type || Resources::KNOWN[kind]

      resource = Resource.new(self, kind, name, type, action)
      resource.instance_eval(&block) if block
      resource
    end

    def run(resource, action = nil)
      Array(action || resource[:action] || resource.default_action).each do |each|
        raise "#{resource} has no action #{each}" unless resource.actions.include?(each)
        next if each == :nothing || resource.guarded?

        @recorded << [resource, each]
        changed = resource.type ? custom(resource, each) : done(resource, each)
        changed ? notify(resource) : next
      end
    end

    # Run a command, or return the test's answer when nothing is performed. An answer of nil is a failure.
    def shell_out(*command)
      unless @perform
        answer = @answers.fetch(command.join(' ')) { raise "no answer to #{command.join(' ')}" }
        return Command.new(answer.to_s, '', answer ? 0 : 1)
      end
      stdout, stderr, status = Open3.capture3(*(command.size == 1 ? ['/bin/sh', '-c', *command] : command))
      Command.new(stdout, stderr, status.exitstatus)
    end

    def guard(test)
      return test.call unless test.is_a?(String)

      @perform || @answers.key?(test) ? shell_out(test).exitstatus.zero? : true
    end

    private

    def failure
      yield
      nil
    rescue StandardError => e
      e
    end

    def done(resource, action)
      changed = @perform ? Resources.perform(resource, action, @cookbook) : true
      @updated << resource.to_s if changed
      changed
    end

    def custom(resource, action)
      before = @updated.size
      resource.type.act(self, resource, action)
      @updated.size > before
    end

    def notify(resource)
      [*resource.notifications, *@subscribed[resource.to_s]].each do |action, name, timing|
        timing == :immediately ? run(named(name), action) : @delayed << [name, action]
      end
    end

    def known!(resource)
      resource.notifications.each do |action, name, _|
        found = named(name)
        raise "#{resource} notifies #{name}, which has no action #{action}" unless found.actions.include?(action)
      end
    end

    def named(name)
      @queue.find { |resource| resource.to_s == name } || raise("there is no resource #{name}")
    end

    def define(path)
      type = CustomType.new(path)
      @custom[type.name] = type
    end
  end

  # The cookbook's attributes, overridden by the test's.
  class Node
    attr_reader :name

    def initialize(name, cookbook, attributes)
      @name = name
      @attributes = Hash.new { |hash, key| hash[key] = Hash.new(&hash.default_proc) }
      path = File.join(cookbook, 'attributes', 'default.rb')
      instance_eval(File.read(path), path)
      attributes.each { |key, value| @attributes['conductor'][key] = value }
    end

    def default
      @attributes
    end

    def [](key)
      @attributes.fetch(key)
    end
  end

  # The methods that recipes and actions can call.
  class Scope
    def initialize(run, declare)
      @run = run
      @declare = declare
    end

    def node
      @run.node
    end

    def include_recipe(name)
      @run.include_recipe(name)
    end

    def data_bag(name)
      @run.bags.fetch(name) { raise "Cannot find a data bag named #{name}" }.keys
    end

    # Chef adds these keys to each item.
    def data_bag_item(bag, id)
      @run.fetched << "#{bag}/#{id}"
      { 'chef_type' => 'data_bag_item', 'data_bag' => bag }.merge(@run.bags.fetch(bag).fetch(id))
    end

    def shell_out(*command)
      @run.shell_out(*command)
    end

    def shell_out!(*command)
      shell_out(*command).tap { |done| raise "cannot run #{command.join(' ')}: #{done.stderr}" unless done.exitstatus.zero? }
    end

    def lazy(&block)
      Lazy.new(block)
    end

    def method_missing(kind, name = nil, &block)
      return super unless name

      @declare.call(@run.build(kind, name, block, self))
    end

    def respond_to_missing?(*)
      true
    end
  end

  # A custom resource: its properties and actions.
  class CustomType
    attr_reader :name, :properties, :default

    def initialize(path)
      @properties = {}
      @actions = {}
      @helpers = Class.new(Scope) { attr_reader :new_resource }
      instance_eval(File.read(path), path)
      raise "#{path} has no unified_mode true" unless @unified
    end

    def actions
      @actions.keys + [:nothing]
    end

    # In unified mode, a resource in an action runs as soon as it is declared.
    def act(run, resource, action)
      scope = @helpers.new(run, ->(inner) { run.run(inner) })
      scope.instance_variable_set(:@new_resource, resource)
      scope.instance_eval(&@actions.fetch(action))
    end

    private

    def unified_mode(on)
      @unified = on
    end

    def provides(name)
      @name = name
    end

    def property(name, *types, name_property: false, default: nil, sensitive: false)
      @properties[name] = { types: types.flatten, name: name_property, default: default, sensitive: sensitive }
    end

    def default_action(name)
      @default = name
    end

    def action(name, &block)
      @actions[name] = block
    end

    def action_class(&block)
      @helpers.class_eval(&block)
    end

    def lazy(&block)
      Lazy.new(block)
    end
  end

  # One declared resource.
  class Resource < BasicObject
    attr_reader :kind, :name, :type, :notifications

    def initialize(run, kind, name, type, action)
      @run = run
      @action = action
      @kind = kind
      @name = name
      @type = type
      @values = {}
      @notifications = []
      @guards = []
    end

    def [](key)
      value = @values[key]
      Lazy === value ? Scope.new(@run, nil).instance_eval(&value.block) : value
    end

    def notifies(action, name, timing = :delayed)
      @notifications << [action, name, timing]
    end

    def subscribes(action, name, timing = :delayed)
      @run.subscribe(name, action, to_s, timing)
    end

    def shell_out(*command)
      @run.shell_out(*command)
    end

    def only_if(command = nil, &block)
      @guards << [true, command || block]
    end

    def not_if(command = nil, &block)
      @guards << [false, command || block]
    end

    def guarded?
      @guards.any? { |wanted, test| (@run.guard(test) ? true : false) != wanted }
    end

    def verify(command = nil, &block)
      (@values[:verify] ||= []) << (command || block)
    end

    def lazy(&block)
      Lazy.new(block)
    end

    def node
      @run.node
    end

    # Chef forwards this to the custom resource.
    def new_resource
      @action.new_resource
    end

    def raise(*words)
      ::Kernel.raise(*words)
    end

    def default_action
      @type ? @type.default : ::Resources::KNOWN[@kind][1].first
    end

    def actions
      @type ? @type.actions : ::Resources::KNOWN[@kind][1] + [:nothing]
    end

    def to_s
      "#{@kind}[#{@name}]"
    end

    def method_missing(key, *words)
      words.empty? ? read(key) : write(key, words.first)
    end

    def respond_to_missing?(*)
      true
    end

    private

    def read(key)
      known = @type ? @type.properties.fetch(key) { raise(::NoMethodError, "#{self} has no property #{key}") } : {}
      return self[key] if @values.key?(key)
      return @name if known[:name]

      default = known[:default]
      Lazy === default ? Scope.new(@run, nil).instance_eval(&default.block) : default
    end

    def write(key, value)
      names = @type ? @type.properties.keys : ::Resources::KNOWN[@kind][0]
      raise(::NoMethodError, "#{self} has no property #{key}") unless (names + ::Resources::COMMON).include?(key)

      types = @type && @type.properties.dig(key, :types)
      if types && types.none? { |type| type === value }
        raise(::ArgumentError, "#{self}: #{key} must be #{types.join(' or ')}, not #{value.class}")
      end
      @values[key] = value
    end
  end
end
