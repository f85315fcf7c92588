# Sourced by scripts that run a server of their own. They set `ringfence`, the program, and `folder`, where the server's
# data, keys and log go, and define `fail MESSAGE`, which exits.

# forget_settings [NAME...]: unsets every variable that the program reads, except those named.
forget_settings() {
  local name
  for name in $(compgen -e RINGFENCE || true); do
    [[ " $* " == *" $name "* ]] || unset "$name"
  done
}

taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

choose_ports() {
  local data=7171
  while taken "$data" || taken $((data + 1)); do
    data=$((data + 2))
    ((data < 7300)) || fail "no free port from 7171 to 7300"
  done
  export RINGFENCE_URL=http://127.0.0.1:$data RINGFENCE_ADMIN_URL=http://127.0.0.1:$((data + 1))
  export RINGFENCE__DATA_PLANE__LISTEN=127.0.0.1:$data RINGFENCE__CONTROL_PLANE__LISTEN=127.0.0.1:$((data + 1))
}

# Outside the data folder: a copy of the data alone opens nothing.
make_root_key() {
  (umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$folder/root.key")
  export RINGFENCE_ROOT_KEY_FILE=$folder/root.key
}

start() {
  env -u RINGFENCE_OPERATOR_TOKEN RINGFENCE_OPERATOR_TOKEN_FILE="$folder/operator.token" \
    setsid "$ringfence" serve --data "$folder/data" >>"$folder/log" 2>&1 </dev/null &
  server=$!
  local tries
  for ((tries = 0; tries < 600; tries++)); do
    kill -0 "$server" 2>/dev/null || { cat "$folder/log" >&2; fail "the server did not start"; }
    if taken "${RINGFENCE_URL##*:}" && taken "${RINGFENCE_ADMIN_URL##*:}"; then return; fi
    sleep 0.1
  done
  fail "the server does not listen after a minute"
}

# Written by the first start, before anything is answered.
read_token() {
  local tries
  for ((tries = 0; tries < 100; tries++)); do
    if RINGFENCE_OPERATOR_TOKEN=$(cat "$folder/operator.token" 2>/dev/null); then return; fi
    sleep 0.1
  done
  fail "the server wrote no operator token"
}
