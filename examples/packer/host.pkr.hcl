# Builds a host image that serves requests as soon as it boots: packer build -var revision=… -only=amazon-ebs.host .
#
# Conductor deploys on the build machine, so the image contains the stopped containers. When a host of this image boots,
# `conductor supervise` starts them again, without a deploy or a registry.
# Packer 1.7 and newer need a plugin: packer plugins install github.com/hashicorp/amazon

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
  description = "The file to install as /etc/conductor/services.yml."
  default     = "services.yml"
}

variable "wheels" {
  type        = string
  description = "Wheels of Conductor and its dependencies, from: pip wheel --wheel-dir wheels CONDUCTOR_REPOSITORY"
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

  # If you use Chef, replace this with its provisioner and the cookbook in chef_templates/.
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

  # Remove what must be unique on each host. ssh-host-keys.service creates new keys at the first boot.
  provisioner "shell" {
    inline = [
      "rm -rf /tmp/bake",
      "sudo -n truncate --size 0 /etc/machine-id",
      "sudo -n sh -c 'rm -f /etc/ssh/ssh_host_*'",
      "sync",
    ]
  }
}
