# strongSwan, on either side: its files are in SIDE/ (segw or henb), its log is SIDE/charon.log.

strongswan_files() { # side, own certificate, peer's certificate (pinned)
  mkdir -p "$1/swanctl/x509" "$1/swanctl/private"
  cp "$2.pem" "$3.pem" "$1/swanctl/x509/"
  cp "$2.key" "$1/swanctl/private/"
  # kernel-libipsec before kernel-netlink: ESP in user space, whatever the kernel has.
  cat >"$1/strongswan.conf" <<'CONF'
charon-systemd {
  load_modular = no
  load = random nonce x509 openssl pubkey pkcs1 pkcs8 pem sha1 sha2 aes hmac gcm kdf drbg curve25519 vici kernel-libipsec kernel-netlink socket-default
  filelog {
    main {
      path = charon.log
      time_format = %H:%M:%S
      default = 1
      cfg = 2
      append = yes
      flush_line = yes
    }
  }
  journal {
    default = -1
  }
  retransmit_timeout = 1.0
  retransmit_tries = 3
  plugins {
    vici {
      socket = unix://charon.vici
    }
  }
}
swanctl {
  load = pem x509 pkcs1 pkcs8 openssl sha1 sha2 random pubkey
}
CONF
}
charon_start() { # side, namespace; before it: SIDE/swanctl/swanctl.conf
  rm -f "$1/charon.vici"
  (cd "$1" && STRONGSWAN_CONF=strongswan.conf exec setsid ip netns exec "$2" charon-systemd </dev/null >>charon.out 2>&1) &
  local shell=$!
  until_true 10 test -S "$1/charon.vici" || { cat "$1/charon.out"; fail "charon ($1) does not come up"; }
  echo "$shell" >"$WORK/$1.pid"
  vici "$1" --load-all --noprompt || fail "swanctl --load-all ($1)"
}
vici() { # side, swanctl arguments
  local side=$1
  shift
  (cd "$side" && STRONGSWAN_CONF=strongswan.conf SWANCTL_DIR=swanctl swanctl "$@" --uri unix://charon.vici)
}
# henb_connection CONNECTION CHILD CERTIFICATE IDENTITY: what a device has in swanctl.conf for our gateway.
henb_connection() {
  cat <<CONF
  $1 {
    version = 2
    local_addrs = 192.0.2.2
    remote_addrs = 192.0.2.1
    proposals = aes128gcm16-prfsha256-x25519
    vips = 0.0.0.0
    local {
      auth = pubkey
      certs = $3.pem
      id = "$4"
    }
    remote {
      auth = pubkey
      certs = segw.pem
      id = segw.lab.test
    }
    children {
      $2 {
        remote_ts = 10.99.0.0/24
        esp_proposals = aes128gcm16
      }
    }
  }
CONF
}
# strongswan_henb NAME: strongSwan as the HeNB "NAME" towards our gateway, started.
strongswan_henb() {
  strongswan_files henb "$1" segw
  { echo 'connections {'; henb_connection c core "$1" "$1.lab.test"; echo '}'; } >henb/swanctl/swanctl.conf
  charon_start henb "$HENB"
}
# gateway_connection LINE...: what a gateway has in swanctl.conf; the lines say by what it knows its devices.
gateway_connection() {
  cat <<CONF
connections {
  segw {
    version = 2
    local_addrs = 192.0.2.1
    proposals = aes128gcm16-prfsha256-x25519
    pools = inner
    local {
      auth = pubkey
      certs = segw.pem
      id = segw.lab.test
    }
    remote {
      auth = pubkey
$(printf '      %s\n' "$@")
    }
    children {
      core {
        local_ts = 10.99.0.0/24
        esp_proposals = aes128gcm16
      }
    }
  }
}
pools {
  inner {
    addrs = 10.88.0.0/24
  }
}
CONF
}
# strongswan_segw NAME: strongSwan as the gateway of the HeNB "NAME", whose certificate it has, started.
strongswan_segw() {
  strongswan_files segw segw "$1"
  gateway_connection "certs = $1.pem" "id = $1.lab.test" >segw/swanctl/swanctl.conf
  charon_start segw "$SEGW"
}
initiate() { vici henb --initiate --ike c --child core --timeout 20; }
virtual_ip() { sed -nE 's/.*installing new virtual IP ([0-9.]+).*/\1/p' henb/charon.log | tail -n 1; }
ping_core() { in_henb ping -c 3 -i 0.2 -W 2 10.99.0.1; }

# strongswan_devices NAME[=IDENTITY]...: strongSwan as several devices, each with a connection of its name, started.
strongswan_devices() {
  local device name
  strongswan_files henb "${1%%=*}" segw
  {
    echo 'connections {'
    for device in "$@"; do
      name=${device%%=*}
      cp "$name.pem" henb/swanctl/x509/
      cp "$name.key" henb/swanctl/private/
      [ "$name" != "$device" ] || device=$name=$name.lab.test
      henb_connection "$name" "$name" "$name" "${device#*=}"
    done
    echo '}'
  } >henb/swanctl/swanctl.conf
  charon_start henb "$HENB"
}
# connect NAME: one of these devices; what swanctl said is in NAME.out.
connect() { vici henb --initiate --ike "$1" --child "$1" --timeout 10 >"$1.out" 2>&1; }
# listed NAME, gone NAME: whether strongSwan as the gateway has a tunnel of that device.
listed() { vici segw --list-sas 2>/dev/null | grep "remote .*$1.lab.test" | grep -q . ; }
gone() { ! listed "$1"; }
