# Chef's resources that the recorder supports: their properties, their actions (the first is the default), and how to
# perform them. Unknown properties and actions are errors, so that a typo in a recipe fails its test.

require 'fileutils'
require 'open3'
require 'shellwords'
require_relative 'rendering'

module Resources
  COMMON = %i(action notifies only_if not_if sensitive).freeze
  OWNED = %i(owner group mode).freeze
  KNOWN = {
    package: [%i(package_name version options), %i(install upgrade remove)],
    dpkg_package: [%i(package_name source version), %i(install upgrade remove purge)],
    directory: [%i(path recursive) + OWNED, %i(create delete)],
    file: [%i(path content backup verify checksum) + OWNED, %i(create delete)],
    template: [%i(path source cookbook variables backup verify local) + OWNED, %i(create delete)],
    remote_file: [%i(path source checksum backup verify) + OWNED, %i(create delete)],
    execute: [%i(command creates cwd environment user live_stream timeout), %i(run nothing)],
    systemd_unit: [%i(unit_name content verify triggers_reload),
                   %i(nothing create enable start reload restart try_restart delete disable stop)]
  }.freeze

  # A `verify` rejected a file.
  class ValidationFailed < StandardError; end

  module_function

  # Perform an action; return true if it changed something. Packages must be installed already. Without systemd, its
  # actions are only recorded.
  def perform(resource, action, cookbook)
    case resource.kind
    when :package then installed(resource)
    when :dpkg_package then debian_package(resource, action)
    when :directory then action == :delete ? removed(resource.name) : directory(resource)
    when :file then action == :delete ? removed(resource.name) : file(resource, resource[:content])
    when :template then action == :delete ? removed(resource.name) : file(resource, rendered(resource, cookbook))
    when :execute then action == :run && execute(resource)
    when :systemd_unit then unit(resource, action)
    else false
    end
  end

  def installed(resource)
    return false if system('dpkg', '--status', resource.name, out: File::NULL, err: File::NULL)

    raise "package #{resource.name} is not installed here"
  end

  # Like Chef, `install` leaves any installed version as it is, and `upgrade` installs the source's unless it is installed.
  def debian_package(resource, action)
    name, version = captured('dpkg-deb', '--show', resource[:source]).split
    current = captured('dpkg-query', '--showformat', '${db:Status-Status} ${Version}', '--show', name).split
    return false if current.first == 'installed' && (action == :install || current.last == version)

    system('dpkg', '--install', resource[:source], out: File::NULL, exception: true)
  end

  def captured(*command)
    Open3.capture2(*command, err: File::NULL).first
  end

  def rendered(resource, cookbook)
    source = File.read(File.join(cookbook, 'templates', resource[:source]), encoding: 'UTF-8')
    Rendering.erubis(source, resource[:variables] || {})
  end

  def directory(resource)
    made = !File.directory?(resource.name)
    resource[:recursive] ? FileUtils.mkdir_p(resource.name) : Dir.mkdir(resource.name) if made
    own(resource) || made
  end

  # Like Chef, write beside the file, verify and rename. An unchanged file is not verified.
  def file(resource, text)
    return own(resource) if File.file?(resource.name) && File.binread(resource.name) == text.b

    beside = File.join(File.dirname(resource.name), ".chef-#{File.basename(resource.name)}-#{Process.pid}")
    File.open(beside, 'wb', 0o600) { |stream| stream.write(text) }
    Array(resource[:verify]).each { |check| verified(resource, check, beside) }
    File.rename(beside, resource.name)
    own(resource)
    true
  ensure
    FileUtils.rm_f(beside) if beside
  end

  def verified(resource, check, path)
    return if check.is_a?(Proc) && check.call(path)

    output, status = Open3.capture2e('/bin/sh', '-c', check % { path: path }) unless check.is_a?(Proc)
    return if status&.success?

    shown = resource[:sensitive] ? '[sensitive]' : "#{check}\n#{output}"
    raise ValidationFailed, "Proposed content for #{resource.name} failed verification #{shown}"
  end

  def own(resource)
    before = File.stat(resource.name)
    File.chmod(Integer(resource[:mode], 8), resource.name) if resource[:mode]
    FileUtils.chown(resource[:owner], resource[:group], resource.name) if resource[:owner]
    after = File.stat(resource.name)
    [before.mode, before.uid, before.gid] != [after.mode, after.uid, after.gid]
  end

  def removed(path)
    return false unless File.exist?(path)

    FileUtils.rm_r(path)
    true
  end

  def execute(resource)
    return false if resource[:creates] && File.exist?(resource[:creates])

    command = Array(resource[:command] || resource.name)
    command = ['/bin/sh', '-c', command.first] if command.size == 1
    return false if command.join(' ').include?('systemctl ') && !systemd?

    output, status = Open3.capture2e(*command)
    raise "cannot run #{command.shelljoin}: #{output}" unless status.success?

    true
  end

  def unit(resource, action)
    return written(resource) if action == :create
    return false unless systemd?

    verb = action.to_s.tr('_', '-')
    enabled, active = %w(is-enabled is-active).map { |query| system('systemctl', '--quiet', query, resource.name) }
    due = { enable: !enabled, start: !active, reload: active, restart: true, try_restart: true, stop: active, disable: enabled }
    return false unless due.fetch(action)

    output, status = Open3.capture2e('systemctl', verb, resource.name)
    raise "cannot #{verb} #{resource.name}: #{output}" unless status.success?

    true
  end

  def written(resource)
    path = File.join('/etc/systemd/system', resource.name)
    return false if File.file?(path) && File.read(path) == resource[:content]

    File.write(path, resource[:content])
    system('systemctl', 'daemon-reload', exception: true) if systemd?
    true
  end

  def systemd?
    File.directory?('/run/systemd/system')
  end
end
