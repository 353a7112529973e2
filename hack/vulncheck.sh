#!/usr/bin/env bash
# hack/vulncheck.sh <govulncheck> <program>...
# Fails if a program holds a function with a known vulnerability. Where the database
# of vulnerabilities cannot be reached, nothing can be known: it says so and does not
# fail. VULNDB names another database than Go's own.
set -euo pipefail
check=$1
shift
for program; do
  code=0
  said=$("$check" ${VULNDB:+-db="$VULNDB"} -mode=binary "$program" 2>&1) || code=$?
  case $code in
  0) printf 'No known vulnerability in %s\n' "$program" ;;
  3)
    printf '%s\nVULNERABLE: %s\n' "$said" "$program" >&2
    exit 1
    ;;
  *)
    # How a request without an answer fails, as opposed to an answer that is an error.
    if grep -q '^govulncheck: fetching vulnerabilities: Get "' <<<"$said"; then
      printf 'LEFT OUT: the search for known vulnerabilities, as their database cannot be reached:\n%s\n' "$said"
      exit 0
    fi
    printf '%s\nThe search for vulnerabilities in %s failed (exit code %d)\n' "$said" "$program" "$code" >&2
    exit 1
    ;;
  esac
done
