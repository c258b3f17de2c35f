# Where the image is built: on an EC2 instance, or on a machine that you have booted yourself and whose disk you copy
# afterwards: packer build -only=null.host -var host=… -var key=… .

variable "host" {
  type    = string
  default = "localhost"
}

variable "user" {
  type    = string
  default = "admin"
}

variable "key" {
  type        = string
  description = "The user's private key. The user needs unrestricted sudo during the build."
  default     = null
}

source "null" "host" {
  ssh_host             = var.host
  ssh_username         = var.user
  ssh_private_key_file = var.key
  ssh_timeout          = "2m"
}

source "amazon-ebs" "host" {
  region        = "eu-west-1"
  instance_type = "t3.small"
  ssh_username  = "admin"
  ami_name      = "shop-${substr(var.revision, 0, 12)}-{{ timestamp }}"

  source_ami_filter {
    owners      = ["136693071363"] # Debian
    most_recent = true
    filters = {
      name                = "debian-12-amd64-*"
      virtualization-type = "hvm"
      root-device-type    = "ebs"
    }
  }
}
