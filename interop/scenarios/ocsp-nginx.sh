# nginx staples ocsp-bridge's answer, seen by openssl s_client -status: good, revoked; nothing without a ledger
# needs: nginx
ocsp_stage

server() { # NAME PORT: a TLS server with that certificate
  cat "$1.pem" vendor.pem >"$1.chain.pem"
  cat <<CONF
  server {
    listen 127.0.0.1:$2 ssl;
    ssl_certificate $WORK/$1.chain.pem;
    ssl_certificate_key $WORK/$1.key;
    ssl_stapling on;
    ssl_stapling_verify on;
    ssl_trusted_certificate $WORK/vendor.pem;
    return 200 ok;
  }
CONF
}
cat >nginx.conf <<CONF
worker_processes 1;
daemon off;
master_process off;
pid $WORK/nginx-own.pid;
error_log $WORK/nginx.log info;
events {}
http {
  access_log off;
  client_body_temp_path $WORK/nginx-t;
  proxy_temp_path $WORK/nginx-t;
  fastcgi_temp_path $WORK/nginx-t;
  uwsgi_temp_path $WORK/nginx-t;
  scgi_temp_path $WORK/nginx-t;
$(server valid 8443)
$(server revoked 8444)
$(server suspended 8445)
}
CONF
start nginx "$SEGW" nginx -c "$WORK/nginx.conf" -e "$WORK/nginx.log"

staple() { # PORT PATTERN: nginx fetches after the first handshake that asks, so it is tried again.
  in_segw openssl s_client -connect "127.0.0.1:$1" -status -CAfile vendor.pem </dev/null >staple.out 2>&1
  grep -q "$2" staple.out
}
until_true 10 staple 8443 'Cert Status: good' || { cat staple.out; fail "no staple for valid"; }
grep -q 'Verify return code: 0' staple.out || { cat staple.out; fail "the server's certificate"; }
# unstapled NAME PORT PATTERN: nginx asks after a handshake, says so in its log, and staples nothing in the next one.
unstapled() {
  complaint() {
    staple "$2" .
    log_has nginx.log "$3.*certificate: \"$WORK/$1.chain.pem\""
  }
  until_true 10 complaint "$@" || { cat staple.out; fail "nginx does not say '$3' of $1"; }
  staple "$2" 'OCSP response: no response sent' || { cat staple.out; fail "port $2 staples something for $1"; }
}
step "what is not good nginx keeps to itself"
unstapled revoked 8444 'certificate status "revoked" in the OCSP response'
unstapled suspended 8445 'certificate status "revoked" in the OCSP response'

step "without a ledger there is no fresh staple"
ledger_lost
stop nginx
: >nginx.log
start nginx "$SEGW" nginx -c "$WORK/nginx.conf" -e "$WORK/nginx.log"
until_true 10 in_segw openssl s_client -connect 127.0.0.1:8443 || fail "nginx does not come up"
unstapled valid 8443 'OCSP response not successful \(3: trylater\)'
