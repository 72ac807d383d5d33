"""What is under `deploy/`, and the container: held to the settings, the routes and the numbers."""

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from click import Command, Context

from iiif_server.app import create_app
from iiif_server.cli import main
from iiif_server.server.addresses import Addressing
from iiif_server.server.proxies import NAMES as FORWARDED_NAMES
from iiif_server.settings import ENV_PREFIX, Settings
from iiif_server.telemetry.metrics import Metrics
from support.charts import Chart
from support.dockerfile import instructions
from support.servers import ADMIN_TOKEN

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
NGINX = DEPLOY / "nginx" / "iiif-server.conf"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
SERVER: dict[str, Any] = SERVICES["iiif-server"]


def is_setting(variable: str) -> bool:
    """Whether a variable of the environment is a setting, nested ones by their first part."""
    first = variable.removeprefix(ENV_PREFIX).partition("__")[0].lower()
    return variable.startswith(ENV_PREFIX) and first in {*Settings.model_fields, "config"}


def loaded(environment: dict[str, str], expression: str) -> Any:
    """A value of `settings`, as a server with this environment and no other has them."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(ENV_PREFIX) and not name.endswith("_DIRECTORY")
    }
    code = (
        "import json; from iiif_server.settings import load_settings; settings = load_settings(); "
        f"print(json.dumps({expression}))"
    )
    return json.loads(
        subprocess.check_output([sys.executable, "-c", code], env=clean | environment, text=True)
    )


@cache
def paths() -> frozenset[str]:
    """The paths that the server answers, to those who may ask."""
    app = create_app(Settings.model_validate({"admin": {"token": ADMIN_TOKEN}}))
    return frozenset(app.openapi()["paths"])


# --- the container ----------------------------------------------------------------------------


def last_stage() -> dict[str, list[str]]:
    """What the image that is run is made with."""
    found: dict[str, list[str]] = {}
    for word, rest in instructions():
        if word == "FROM":
            found = {}
        found.setdefault(word, []).append(rest)
    return found


def container_environment() -> dict[str, str]:
    (text,) = last_stage()["ENV"]
    return dict(item.split("=", 1) for item in text.split())


def test_every_instruction_of_the_container_is_one_that_is_meant() -> None:
    known = {"FROM", "WORKDIR", "COPY", "RUN", "LABEL", "ENV", "USER", "VOLUME", "EXPOSE"}
    assert {word for word, _ in instructions()} == known | {"HEALTHCHECK", "ENTRYPOINT", "CMD"}


def test_the_container_is_built_of_files_that_are_there() -> None:
    sources = [
        source
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    assert {"assets", "src", "pyproject.toml", "hatch_build.py", "requirements.lock"} <= set(
        sources
    )
    ignored = (ROOT / ".dockerignore").read_text().split()
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source not in ignored, source


def test_the_container_takes_from_its_stages_what_these_make() -> None:
    stages = [rest.split(" AS ")[1] for word, rest in instructions() if " AS " in rest]
    assert stages == ["build"]
    copied = [rest for word, rest in instructions() if word == "COPY" and rest[:2] == "--"]
    assert copied == ["--from=build /venv /venv"]
    assert "../src/iiif_server/pages/bundle" in (ROOT / "assets/bundle").read_text()
    assert os.access(ROOT / "assets/bundle", os.X_OK)


def test_the_container_runs_a_slim_python_that_the_project_supports_and_not_as_root() -> None:
    stage = last_stage()
    assert re.fullmatch(r"python:3\.1[1-9]-slim", stage["FROM"][0])
    assert stage["USER"] == ["10001:10001"]
    assert "--uid 10001" in stage["RUN"][0]


def test_the_container_sets_only_what_is_a_setting_and_the_settings_take_it() -> None:
    environment = container_environment()
    variables = [name for name in environment if name.startswith(ENV_PREFIX)]
    # Folders are defaults (STATE_DIRECTORY, CACHE_DIRECTORY): a settings file overrides them.
    assert variables == ["IIIF_HTTP_HOST", "IIIF_HTTP_PORT"]
    assert all(map(is_setting, variables))
    names = (*variables, "STATE_DIRECTORY", "CACHE_DIRECTORY")
    ours = {name: environment[name] for name in names}
    host, port = loaded(ours, "[settings.http_host, settings.http_port]")
    assert (host, str(port)) == ("0.0.0.0", last_stage()["EXPOSE"][0])  # noqa: S104
    volumes = json.loads(last_stage()["VOLUME"][0])
    folders = loaded(ours, "[str(settings.source_path), str(settings.cache_path)]")
    assert folders == volumes
    assert all(folder in last_stage()["RUN"][0] for folder in folders)


def test_the_container_starts_a_command_that_exists_and_is_asked_for_health_where_it_is() -> None:
    stage = last_stage()
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert json.loads(stage["ENTRYPOINT"][0])[0] in scripts
    assert_command(json.loads(stage["CMD"][0]))
    probe = json.loads(stage["HEALTHCHECK"][0].partition("CMD ")[2])
    assert probe[0] == "python"
    compile(probe[2], "probe", "exec")
    path = re.search(r"\}(/[\w/]+)'", probe[2])
    assert path is not None
    assert path[1] in paths()


def assert_command(words: list[str]) -> None:
    """That the command line has such a command, with such options."""
    command = main.get_command(Context(main), words[0])
    assert isinstance(command, Command)
    options = {option for parameter in command.params for option in parameter.opts}
    for word in words[1:]:
        if word.startswith("--"):
            assert word in options, word


# --- compose ----------------------------------------------------------------------------------


def test_compose_starts_server_and_proxy_and_the_rest_when_asked() -> None:
    profiles = {name: service.get("profiles", []) for name, service in SERVICES.items()}
    assert profiles == {
        "iiif-server": [],
        "nginx": [],
        "prometheus": ["monitoring"],
        "grafana": ["monitoring"],
        "objects": ["objects"],
    }


def test_compose_shows_an_image_at_once() -> None:
    assert SERVER["command"] == ["serve", "--sample"]
    assert_command(SERVER["command"])
    opening = (ROOT / "docker-compose.yml").read_text().splitlines()[0]
    prefix = SERVER["environment"]["IIIF_ROOT_PATH"]
    assert f"http://localhost:4040{prefix}/sample:atlas.jpg/view" in opening
    assert "/{identifier}/view" in paths()
    assert "127.0.0.1:4040:80" in SERVER["ports"]


def test_compose_sets_only_what_is_a_setting_and_the_settings_take_it() -> None:
    environment = {name: str(value) for name, value in SERVER["environment"].items()}
    assert all(map(is_setting, environment))
    types = loaded(environment, "{name: o.source for name, o in settings.types.items()}")
    assert types == {"images": "disk", "objects": "web"}
    assert loaded(environment, "settings.log_format") == "json"


def test_compose_lets_in_those_containers_that_it_names() -> None:
    environment = {name: str(value) for name, value in SERVER["environment"].items()}
    scrapers, upstreams = loaded(
        environment,
        "[[str(n) for n in settings.metrics.allow_networks],"
        " [str(n) for n in settings.fetch.allow_networks]]",
    )

    def address(name: str) -> str:
        return f"{SERVICES[name]['networks']['default']['ipv4_address']}/32"

    assert scrapers == [address("prometheus")]
    assert upstreams == [address("objects")]
    proxies = loaded(environment, "[str(n) for n in settings.trusted_proxies]")
    assert SERVICES["nginx"]["network_mode"] == "service:iiif-server"
    assert proxies == ["127.0.0.1/32"], "nginx is on the server's own loopback"


def test_compose_mounts_what_is_there_where_the_container_looks() -> None:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source, target, *_ = volume.split(":")
            if source.startswith("./deploy"):
                assert (ROOT / source).exists(), (name, source)
            elif not source.startswith("./data/"):
                assert source in COMPOSE["volumes"], (name, source)
            if name == "iiif-server":
                assert any(
                    target == folder or target.startswith(f"{folder}/")
                    for folder in json.loads(last_stage()["VOLUME"][0])
                )


def test_servers_are_given_the_time_to_end_in_order() -> None:
    needed = Settings().http_drain + 20  # docs/scaling.md
    for text in (SERVER["stop_grace_period"], *unit()["TimeoutStopSec"]):
        assert float(text.removesuffix("s")) >= needed


def test_compose_publishes_on_this_machine_only() -> None:
    for service in SERVICES.values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), port


def test_compose_gives_the_server_no_more_than_it_needs() -> None:
    assert SERVER["read_only"] is True
    assert SERVER["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in SERVER["security_opt"]
    assert "/tmp" in SERVER["tmpfs"]  # noqa: S108
    assert SERVICES["nginx"]["read_only"] is True


def test_the_proxy_listens_where_compose_publishes_it_and_asks_where_the_server_is() -> None:
    text = NGINX.read_text()
    assert re.search(r"listen\s+(?:[\d.]+:)?80\b", text)
    assert re.search(r"(?:127\.0\.0\.1|localhost):4040", text)
    assert f"location {SERVER['environment']['IIIF_ROOT_PATH']}/ {{" in text
    assert "X-Forwarded-Proto" in text, "by this /metrics is kept from those behind it"
    kept = re.search(r"proxy_cache_path (\S+)", text)
    assert kept is not None
    targets = [volume.split(":")[1] for volume in SERVICES["nginx"]["volumes"]]
    assert any(kept[1].startswith(f"{target}/") for target in targets), "the root is read-only"


FORWARDED = {
    "host",
    "x-accel",
    "x-forwarded-for",
    "x-request-id",
    "traceparent",
    "tracestate",
    *(name.decode() for name in FORWARDED_NAMES),
}
"""What the server reads of a trusted proxy, or passes on."""


@pytest.mark.parametrize("file", sorted((DEPLOY / "nginx").glob("*.conf")), ids=lambda p: p.name)
def test_nginx_overwrites_every_forwarded_header_in_every_location(file: Path) -> None:
    text = re.sub(r"#.*", "", file.read_text())
    locations = re.findall(r"location [^{]*\{([^}]*)\}", text)
    assert sum("proxy_pass" in location for location in locations) == text.count("proxy_pass")
    for location in locations:
        # One line of its own, and nginx would inherit none.
        assert "proxy_set_header" not in location
    names = [name.lower() for name in re.findall(r"proxy_set_header (\S+) \S+;", text)]
    assert set(names) >= FORWARDED
    assert len(names) == len(set(names))


@pytest.mark.parametrize("file", sorted((DEPLOY / "nginx").glob("*.conf")), ids=lambda p: p.name)
def test_nginx_files_name_the_settings_that_they_need(file: Path) -> None:
    lines = [line[1:].strip() for line in file.read_text().split("\n") if line.startswith("#   ")]
    settings = Settings(**tomllib.loads("\n".join(lines)))
    assert settings.root_path == "/iiif"
    for peer in ("127.0.0.1", "::1"):
        assert Addressing(None, settings.trusted_proxies).trusts(peer)
    accel = settings.delivery.accel_redirect
    assert (f"location {accel}/" in file.read_text()) == (accel is not None)


def test_the_folder_that_nginx_does_not_make_is_made_before() -> None:
    page = (DEPLOY.parent / "docs/nginx.md").read_text()
    for file in (DEPLOY / "nginx").glob("*.conf"):
        for folder in re.findall(r"(?m)^proxy_cache_path (\S+)", file.read_text()):
            command = f"mkdir -p {Path(folder).parent}\n"
            assert command in file.read_text()
            assert command.strip() in page


def test_nginx_looks_for_derivatives_where_the_unit_has_the_server_put_them() -> None:
    text = (DEPLOY / "nginx/iiif-server-accel.conf").read_text()
    unit = (DEPLOY / "systemd/iiif-server.service").read_text()
    cache = re.search(r"(?m)^CacheDirectory=(\S+)", unit)
    assert cache is not None
    assert f"alias /var/cache/{cache[1]}/derivatives/entries/;" in text
    assert "UMask=0027" in unit
    assert "usermod -aG iiif www-data" in text, "files are readable for the group only"


def test_prometheus_asks_the_server_that_compose_starts() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["iiif-server:4040"]}]
    assert job.get("metrics_path", "/metrics") == "/metrics"
    for file in config["rule_files"]:
        assert (DEPLOY / "prometheus" / file).exists()
    assert 'job="iiif-server"' in (DEPLOY / "prometheus/iiif-server.rules.yml").read_text()
    assert job["job_name"] == "iiif-server"


# --- numbers ----------------------------------------------------------------------------------


def labels_by_number() -> dict[str, set[str]]:
    """The labels of each number, by the names that queries know it by."""
    known: dict[str, set[str]] = {}
    for collector in Metrics().instruments._registry._collector_to_names:
        (family,) = collector.describe()  # type: ignore[attr-defined]
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
        for suffix in suffixes.get(family.type, [""]):
            known[f"{family.name}{suffix}"] = {*collector._labelnames, "instance", "job"}  # type: ignore[attr-defined]
            if suffix == "_bucket":
                known[f"{family.name}{suffix}"].add("le")
    return known


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DEPLOY / "grafana/dashboards/iiif-server.json").read_text())
    return found


def queries() -> list[str]:
    """Every query of the dashboard and of the alerts."""
    rules = yaml.safe_load((DEPLOY / "prometheus/iiif-server.rules.yml").read_text())
    panels = dashboard()["panels"]
    return [
        *(target["expr"] for panel in panels for target in panel.get("targets", [])),
        *(rule["expr"] for group in rules["groups"] for rule in group["rules"]),
    ]


def test_every_number_of_dashboard_and_alerts_exists_with_the_labels_that_are_asked_for() -> None:
    known = labels_by_number()
    named = set()
    for query in queries():
        names = re.findall(r"\biiif_\w+", query)
        for name in names:
            assert name in known, query
        named |= set(names)
        labels = {
            word.strip()
            for group in re.findall(r"by \(([^)]*)\)", query)
            for word in group.split(",")
        }
        labels |= set(re.findall(r"[{,]\s*(\w+)\s*(?:=|!)", query))
        for name in names:
            missing = labels - known[name]
            assert not missing, (missing, query)
    assert len(named) > 30


def test_every_number_is_somewhere_on_the_dashboard() -> None:
    shown = " ".join(queries())
    not_shown = {"iiif_build_info", "iiif_start_time_seconds", "iiif_workers_renewed_total"}
    for name in labels_by_number():
        if name not in not_shown and not name.endswith(("_count", "_sum")):
            assert name in shown, name


def test_every_number_and_every_alert_is_explained() -> None:
    page = (ROOT / "docs/observing.md").read_text()
    for name in labels_by_number():
        if not name.endswith(("_bucket", "_count", "_sum")):
            assert f"`{name.removeprefix('iiif_')}`" in page, name
    rules = yaml.safe_load((DEPLOY / "prometheus/iiif-server.rules.yml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert f"`{rule['alert']}`" in page, rule["alert"]


def test_the_pages_for_operators_name_only_what_is_there() -> None:
    values = yaml.safe_dump(CHART.values)
    for page in ("docs/deploying.md", "docs/observing.md"):
        text = (ROOT / page).read_text()
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (ROOT / "docs" / link).exists(), link
        for path in re.findall(r"(?<![\w./])(?:deploy|tests)/[\w./-]+[\w]", text):
            assert (ROOT / path).exists(), path
        for variable in re.findall(r"\bIIIF_[A-Z_]+", text):
            assert is_setting(variable), variable
        for profile in re.findall(r"--profile (\w+)", text):
            assert any(profile in service.get("profiles", []) for service in SERVICES.values())
    for key in ("drainSeconds", "existingClaim", "serviceMonitor", "className"):
        assert key in values


def test_no_two_panels_of_the_dashboard_overlap() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, panel["title"]
                assert x < 24
                taken.add((x, y))


def test_grafana_finds_dashboard_and_numbers_where_compose_puts_them() -> None:
    provisioning = DEPLOY / "grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards/iiif-server.yml").read_text())[
        "providers"
    ]
    grafana = SERVICES["grafana"]
    mounts = dict(volume.split(":")[:2] for volume in grafana["volumes"])
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == provider["options"]["path"]
    assert (DEPLOY / "grafana/dashboards" / home.name).exists()


# --- Helm -------------------------------------------------------------------------------------

CHART = Chart(DEPLOY / "helm/iiif-server")
ALL_OF_IT = {
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "annotations": {"a": "b"},
        "hashBy": "$iiif_image",
    },
    "caBundle": {"configMap": "museum-ca"},
    "extraVolumes": [{"name": "scans", "nfs": {"server": "nas", "path": "/scans"}}],
    "extraVolumeMounts": [{"name": "scans", "mountPath": "/srv/scans"}],
    "secret": "images-secret",
    "env": [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318"}],
    "metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
    "podLabels": {"team": "images"},
    "nodeSelector": {"disk": "fast"},
}


def made(kind: str, changes: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    return [item for item in CHART.render(changes) if item["kind"] == kind]


def pod(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = made("Deployment", changes)[0]["spec"]["template"]["spec"]
    return spec


def test_the_chart_makes_what_is_asked_for_and_no_more() -> None:
    def kinds(changes: dict[str, Any]) -> list[str]:
        return sorted(item["kind"] for item in CHART.render(changes))

    claims = ["PersistentVolumeClaim", "PersistentVolumeClaim"]
    least = ["ConfigMap", "Deployment", *claims, "PodDisruptionBudget", "Service"]
    assert kinds({}) == least
    assert kinds(ALL_OF_IT) == sorted([*least, "Ingress", "ServiceMonitor"])
    own = {"source": {"existingClaim": "mine"}, "cache": {"enabled": False}}
    no_budget = {"persistence": own, "podDisruptionBudget": {"enabled": False}}
    assert kinds(no_budget) == ["ConfigMap", "Deployment", "Service"]
    volumes = {item["name"]: item for item in pod({"persistence": own})["volumes"]}
    assert volumes["source"]["persistentVolumeClaim"] == {"claimName": "mine"}
    assert volumes["cache"] == {"name": "cache", "emptyDir": {}}


@pytest.mark.parametrize("changes", [{}, ALL_OF_IT])
def test_what_the_chart_makes_fits_together(changes: dict[str, Any]) -> None:
    (deployment,) = made("Deployment", changes)
    (service,) = made("Service", changes)
    template = deployment["spec"]["template"]
    for selector in (deployment["spec"]["selector"]["matchLabels"], service["spec"]["selector"]):
        assert selector.items() <= template["metadata"]["labels"].items()
    (container,) = template["spec"]["containers"]
    (port,) = container["ports"]
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    assert str(port["containerPort"]) == last_stage()["EXPOSE"][0]
    claims = {item["metadata"]["name"] for item in made("PersistentVolumeClaim", changes)}
    volumes = template["spec"]["volumes"]
    used = {
        v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v
    }
    assert used == claims
    assert {item["name"] for item in volumes} == {
        item["name"] for item in container["volumeMounts"]
    }
    for monitor in made("ServiceMonitor", changes):
        wanted = monitor["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= service["metadata"]["labels"].items()
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["port"] == service["spec"]["ports"][0]["name"]
        assert endpoint["path"] in paths()
        assert is_setting(endpoint["authorization"]["credentials"]["key"])
    for budget in made("PodDisruptionBudget", changes):
        wanted = budget["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= template["metadata"]["labels"].items()
        assert budget["spec"]["maxUnavailable"] == 1
    for ingress in made("Ingress", changes):
        (rule,) = ingress["spec"]["rules"]
        backend = rule["http"]["paths"][0]["backend"]["service"]
        assert backend == {"name": service["metadata"]["name"], "port": {"name": "http"}}


def test_the_chart_asks_for_health_where_it_is() -> None:
    (container,) = pod()["containers"]
    probes = {
        name: container[f"{name}Probe"]["httpGet"]["path"]
        for name in ("startup", "liveness", "readiness")
    }
    assert probes == {"startup": "/health", "liveness": "/health", "readiness": "/health/ready"}
    assert set(probes.values()) <= paths()


def test_the_charts_settings_are_accepted_and_read_where_they_are_mounted(tmp_path: Path) -> None:
    (config,) = made("ConfigMap")
    ((name, text),) = config["data"].items()
    (container,) = pod()["containers"]
    variables = {item["name"]: item["value"] for item in container["env"]}
    mounts = {item["name"]: item["mountPath"] for item in container["volumeMounts"]}
    assert variables["IIIF_CONFIG"] == f"{mounts['settings']}/{name}"
    assert all(map(is_setting, variables))
    (tmp_path / name).write_text(text)
    environment = {"IIIF_CONFIG": str(tmp_path / name)}
    assert loaded(environment, "[settings.log_format, list(settings.types)]") == ["json", []]
    assert_command(container["args"])
    volumes = json.loads(last_stage()["VOLUME"][0])
    assert [mounts["source"], mounts["cache"]] == volumes


def test_the_chart_gives_pods_the_time_that_they_need_to_end() -> None:
    spec = pod({"drainSeconds": 7})
    (container,) = spec["containers"]
    variables = {item["name"]: item["value"] for item in container["env"]}
    drain = loaded({"IIIF_HTTP_DRAIN": variables["IIIF_HTTP_DRAIN"]}, "settings.http_drain")
    assert drain == 7
    assert spec["terminationGracePeriodSeconds"] >= drain + 20  # docs/scaling.md


def test_the_chart_has_requests_for_an_image_go_to_one_pod_by_the_map_of_nginx() -> None:
    (ingress,) = made("Ingress", ALL_OF_IT)
    annotations = ingress["metadata"]["annotations"]
    hashed = "nginx.ingress.kubernetes.io/upstream-hash-by"
    assert annotations == {"a": "b", hashed: "$iiif_image"}
    assert f"map $uri {annotations[hashed]} {{" in NGINX.read_text()
    (plain,) = made("Ingress", {"ingress": {"enabled": True}})
    assert "annotations" not in plain["metadata"]


def test_the_chart_mounts_authorities_where_the_server_looks_for_them() -> None:
    spec = pod(ALL_OF_IT)
    (container,) = spec["containers"]
    variables = {item["name"]: item["value"] for item in container["env"]}
    mounts = {item["name"]: item["mountPath"] for item in container["volumeMounts"]}
    volumes = {item["name"]: item for item in spec["volumes"]}
    assert variables["SSL_CERT_FILE"] == f"{mounts['ca']}/ca.crt"
    assert volumes["ca"]["configMap"] == {"name": "museum-ca"}
    assert mounts["scans"] == "/srv/scans"
    assert volumes["scans"]["nfs"] == {"server": "nas", "path": "/scans"}


@pytest.mark.parametrize(
    ("source", "cache", "recreated"),
    [
        ({}, {}, True),
        ({}, {"enabled": False}, True),
        ({"accessMode": "ReadOnlyMany"}, {}, True),
        ({"accessMode": "ReadOnlyMany"}, {"accessMode": "ReadWriteMany"}, False),
        ({"accessMode": "ReadOnlyMany"}, {"enabled": False}, False),
        ({"enabled": False}, {"enabled": False}, False),
    ],
)
def test_pods_are_replaced_one_by_one_unless_a_volume_is_for_one_node(
    source: dict[str, Any], cache: dict[str, Any], *, recreated: bool
) -> None:
    (deployment,) = made("Deployment", {"persistence": {"source": source, "cache": cache}})
    assert (deployment["spec"].get("strategy") == {"type": "Recreate"}) is recreated


def test_new_settings_make_new_pods() -> None:
    def mark(changes: dict[str, Any]) -> str:
        template = made("Deployment", changes)[0]["spec"]["template"]
        checksum: str = template["metadata"]["annotations"]["checksum/settings"]
        return checksum

    assert mark({}) == mark({})
    assert mark({}) != mark({"settings": {"log_level": "debug"}})


def test_the_charts_pod_may_do_no_more_than_it_needs() -> None:
    spec = pod()
    (container,) = spec["containers"]
    user = last_stage()["USER"][0].split(":")
    security = spec["securityContext"]
    assert security["runAsNonRoot"] is True
    assert [str(security["runAsUser"]), str(security["runAsGroup"])] == user
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    # Else a service named `iiif` would set IIIF_PORT, which is no setting.
    assert spec["enableServiceLinks"] is False
    assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]  # noqa: S108


def test_the_cache_of_the_chart_has_room_for_what_may_be_kept() -> None:
    size = CHART.values["persistence"]["cache"]["size"]
    kept = Settings.model_validate(CHART.values["settings"]).cache.max_bytes
    assert size == "10Gi"
    assert kept + 1_000_000_000 < 10 * 2**30


def test_a_monitor_without_a_token_is_refused() -> None:
    with pytest.raises(ValueError, match="IIIF_METRICS__TOKEN"):
        CHART.render({"metrics": {"serviceMonitor": {"enabled": True}}})


def test_the_chart_is_of_this_version() -> None:
    from iiif_server import __version__  # noqa: PLC0415

    assert CHART.about["appVersion"] == __version__


# --- systemd ----------------------------------------------------------------------------------

UNIT = DEPLOY / "systemd/iiif-server.service"


def unit() -> dict[str, list[str]]:
    """The settings of the [Service] section, each with its values in order."""
    found: dict[str, list[str]] = {}
    section = UNIT.read_text().partition("[Service]")[2].partition("[Install]")[0]
    for line in section.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_the_unit_is_one() -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read_string(UNIT.read_text())
    assert parser.sections() == ["Unit", "Service", "Install"]


def test_the_unit_starts_a_command_that_exists_as_a_user_that_is_made() -> None:
    (start,) = unit()["ExecStart"]
    program, *words = start.split()
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert Path(program).name in scripts
    assert_command(words)
    (user,) = unit()["User"]
    assert f"u {user} " in UNIT.with_name("iiif-server.sysusers.conf").read_text()
    assert unit()["ExecReload"] == ["/bin/kill -HUP $MAINPID"]


def test_the_unit_sets_only_what_is_a_setting_and_lets_that_be_written() -> None:
    pairs = dict(value.split("=", 1) for value in unit()["Environment"])
    # It sets no setting, as that would override what the settings file says.
    assert not [name for name in pairs if name.startswith(ENV_PREFIX)]
    state = [f"/var/lib/{name}" for name in unit()["StateDirectory"][0].split()]
    (cache,) = (f"/var/cache/{name}" for name in unit()["CacheDirectory"])
    ours = {"STATE_DIRECTORY": ":".join(state), "CACHE_DIRECTORY": cache}
    source, cache_path = loaded(ours, "[str(settings.source_path), str(settings.cache_path)]")
    writable = [*state, cache]
    assert source in writable
    assert cache_path in writable
    assert unit()["ProtectSystem"] == ["strict"]


@pytest.mark.parametrize("where", ["unit", "image"])
def test_folders_of_a_settings_file_win_over_those_of_unit_and_image(
    tmp_path: Path, where: str
) -> None:
    """What `migrate` writes is what the service reads."""
    config = tmp_path / "settings.toml"
    config.write_text('source_path = "/srv/scans"\ncache_path = "/srv/cache"\n')
    pairs = dict(value.split("=", 1) for value in unit()["Environment"])
    environment = {**pairs, "STATE_DIRECTORY": "/var/lib/x", "CACHE_DIRECTORY": "/var/cache/x"}
    if where == "image":
        environment = container_environment()
        del environment["PATH"]
    environment["IIIF_CONFIG"] = str(config)
    folders = loaded(environment, "[str(settings.source_path), str(settings.cache_path)]")
    assert folders == ["/srv/scans", "/srv/cache"]


def test_the_unit_lets_worker_processes_fence_themselves_in() -> None:
    allowed = " ".join(unit()["SystemCallFilter"]).split()
    for call in ("landlock_create_ruleset", "landlock_restrict_self", "seccomp", "prlimit64"):
        assert call in allowed
    assert "ProcSubset" not in unit()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_understands_the_unit_and_finds_little_that_it_may_do(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text()))
    verified = subprocess.run(
        ["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", copy],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout
