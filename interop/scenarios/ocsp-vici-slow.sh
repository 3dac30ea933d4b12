# ocsp-vici-many beside an OCSP responder that takes half a second for each answer, while ten other devices a second come in
# needs: python3
LEDGATE_VICI_SLOW=${LEDGATE_VICI_SLOW:-0.5}
# shellcheck source=/dev/null
. "$(dirname "$SCENARIO")/ocsp-vici-many.sh"
