#!/bin/sh
# The services of docker-compose.yml: the relay, its Redis, Prometheus and Grafana.
#
#   sh commands/services.sh up
#   sh commands/services.sh down [remove|keep]
#
# down removes the containers. Their data goes with `remove` and stays with `keep`; without either a person at a terminal
# is asked, and where there is nobody to ask it stays.
set -eu
cd "$(dirname "$0")/.."
token=data/services/metrics_token

fail() {
    echo "$1" >&2
    exit 1
}

docker version >/dev/null 2>&1 || {
    command -v docker >/dev/null ||
        fail "Docker was not found; install it: https://docs.docker.com/get-docker (relay needs no services beside it: make run)"
    fail "The Docker engine cannot be reached; start it, or join its group (sudo usermod -aG docker $(id -un)) and log in again."
}
docker compose version >/dev/null 2>&1 ||
    fail "Docker has no compose here; install 2.24 or newer: sudo apt install docker-compose-plugin (or docker-compose-v2)"

# Compose names a missing secret's file, not what makes it.
if [ ! -s "$token" ]; then
    mkdir -p data/services
    chmod 700 data/services
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$token"
    chmod 644 "$token" # read by two users inside of containers; on this machine the folder keeps others out
fi

case ${1:-} in
up)
    docker compose up --detach --build --wait --wait-timeout 300 ||
        fail "Not every service is healthy; see above, and what they say: docker compose logs relay"
    echo
    echo "  relay       http://$(docker compose port relay 8080)"
    echo "  Prometheus  http://$(docker compose port prometheus 9090)"
    echo "  Grafana     http://$(docker compose port grafana 3000)"
    echo
    grep -q '^PUBLIC_URL=.' .env 2>/dev/null ||
        echo "  Without PUBLIC_URL in .env it takes calls from inside its container only:"
    echo "  Talk to it:  docker compose exec relay relay call"
    echo "  Its log:     docker compose logs --follow relay"
    echo "  Stop it:     make down"
    ;;
down)
    answer=${2:-}
    if [ -z "$answer" ]; then
        echo "The containers are stopped and removed. The volumes hold"
        echo "  redis-data, relay-data   every history, person, order and tour"
        echo "  prometheus-data          the metrics of the last days"
        if [ -t 0 ]; then
            printf 'Remove them too? They cannot be brought back. [y/N] '
            read -r answer || answer=
            case $answer in [yY] | [yY][eE][sS]) answer=remove ;; *) answer=keep ;; esac
        else
            answer=keep
        fi
    fi
    case $answer in
    remove)
        docker compose down --volumes
        echo "The containers and their volumes are gone."
        ;;
    keep)
        docker compose down
        echo "The containers are gone; the volumes are kept. To remove them as well: make down VOLUMES=remove"
        ;;
    *) fail "VOLUMES is remove or keep." ;;
    esac
    ;;
*) fail "usage: sh commands/services.sh up | down [remove|keep]" ;;
esac
