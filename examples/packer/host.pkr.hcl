# Bakes a host that serves by itself as soon as it boots: packer build -var revision=… -only=amazon-ebs.host .
#
# Conductor deploys on the machine that is being baked; what it has started is stopped with it and is on its disk. After the
# boot of a host made of the image, `conductor supervise` starts the same containers again: no deploy, no registry.
# (Packer 1.7 and newer fetch a builder as a plugin: packer plugins install github.com/hashicorp/amazon)

variable "revision" {
  type = string
  validation {
    condition     = length(var.revision) == 40 && regex_replace(var.revision, "^[0-9a-f]{40}$", "") == ""
    error_message = "The revision must be 40 hexadecimal digits."
  }
}

variable "services" {
  type    = list(string)
  default = ["shop_web", "shop_worker"]
}

variable "definitions" {
  type        = string
  description = "What becomes /etc/conductor/services.yml."
  default     = "services.yml"
}

variable "wheels" {
  type        = string
  description = "A directory with Conductor and what it needs, from: pip wheel --wheel-dir wheels PATH_OF_CONDUCTOR."
  default     = "wheels"
}

build {
  sources = ["source.amazon-ebs.host", "source.null.host"]

  provisioner "shell" {
    inline = ["mkdir -p /tmp/bake"]
  }
  provisioner "file" {
    source      = "${var.wheels}/"
    destination = "/tmp/bake"
  }
  provisioner "file" {
    source      = var.definitions
    destination = "/tmp/bake/services.yml"
  }

  # Where Chef prepares your hosts, its provisioner stands here instead, with the cookbook of chef_templates/.
  provisioner "shell" {
    script          = "${path.root}/prepare-host"
    execute_command = "sudo -n bash {{ .Path }} /tmp/bake"
  }

  provisioner "shell" {
    inline = [
      "sudo -n conductor service upgrade ${join(" ", [for id in var.services : "--id ${id}"])} --revision ${var.revision}",
      "sudo -n conductor service status",
    ]
  }

  # What must differ from host to host is made at the first boot: the keys by ssh-host-keys.service.
  provisioner "shell" {
    inline = [
      "rm -rf /tmp/bake",
      "sudo -n truncate --size 0 /etc/machine-id",
      "sudo -n sh -c 'rm -f /etc/ssh/ssh_host_*'",
      "sync",
    ]
  }
}
