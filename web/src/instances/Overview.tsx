/* web/src/instances/Overview.tsx: what an instance is and uses, and what is known about it. */
import { Card, CardBody, CardTitle, Label } from "@patternfly/react-core";
import { Link } from "react-router-dom";
import { ago, bytes, number, when } from "@/core/format";
import { t } from "@/core/text";
import { Facts } from "@/parts/Facts";
import { Usage } from "@/parts/Usage";
import { isAlive } from "./actions";
import type { Of } from "./DetailsPage";

export function Overview({ instance }: Of) {
  const { status } = instance;
  const alive = isAlive(status.state);
  const isMachine = instance.kind !== "os";
  const cards = instance.nets?.map((n) => [n.network ?? n.kind, n.address].filter(Boolean).join(" ")) ?? [];

  return (
    <div className="cards">
      <Card isCompact>
        <CardTitle component="h2">{t(isMachine ? "overview.machine" : "overview.container")}</CardTitle>
        <CardBody>
          <Facts
            rows={[
              [t("instances.cpus"), instance.cpus ?? 1],
              [t("instances.memory"), bytes(instance.memory ?? 2 ** 30)],
              [t("overview.image"), instance.image],
              [t("overview.kernel"), instance.kernel],
              [t("overview.command"), instance.os?.command?.join(" ")],
              [t("tab.disks"), isMachine ? (instance.disks?.length ?? 0) : undefined],
              [t("tab.network"), cards.join(", ") || t("none")],
              [t("overview.engine"), isMachine ? (instance.engine ?? "auto") : undefined],
            ]}
          />
        </CardBody>
      </Card>
      <Card isCompact>
        <CardTitle component="h2">{t("overview.now")}</CardTitle>
        <CardBody>
          <Facts
            rows={[
              [t("overview.since"), status.since ? t("overview.since_is", { ago: ago(status.since), at: when(status.since) }) : undefined],
              [t("instances.addresses"), alive && status.addresses?.length ? status.addresses.join(", ") : undefined],
              [t("overview.pid"), alive ? status.pid : undefined],
              [t("overview.cpu"), alive && status.cpu_us !== undefined ? `${number(status.cpu_us / 1e6, 1)} s` : undefined],
              [t("overview.used"), alive && status.memory_used ? bytes(status.memory_used) : undefined],
              [t("overview.restarts"), status.restarts || undefined],
              [t("overview.start_at"), status.start_at ? when(status.start_at) : undefined],
              [
                t("overview.base"),
                status.base && <Link to={`/instances/${encodeURIComponent(status.base)}`}>{[status.base, status.base_snapshot].filter(Boolean).join("/")}</Link>,
              ],
            ]}
          />
        </CardBody>
      </Card>
      <Card isCompact>
        <CardTitle component="h2">{t("overview.usage")}</CardTitle>
        <CardBody>
          <Usage path="/1.0/instances/{name}/metrics" names={[instance.name]} />
        </CardBody>
      </Card>
      <Card isCompact>
        <CardTitle component="h2">{t("overview.about")}</CardTitle>
        <CardBody>
          <Facts
            rows={[
              [t("instances.tags"), instance.tags?.length ? <span className="labels">{instance.tags.map((x) => <Label key={x.tag} isCompact>{x.tag}</Label>)}</span> : undefined],
              [t("overview.notes"), instance.notes && <span className="notes">{instance.notes}</span>],
              [t("hardware.autostart"), t(instance.autostart ? "yes" : "no")],
              [t("hardware.restart"), t(`restart.${instance.restart ?? "no"}`)],
              [t("hardware.protected"), t(instance.protected ? "yes" : "no")],
              [t("overview.id"), <code>{status.id}</code>],
              [t("overview.uuid"), instance.uuid && <code>{instance.uuid}</code>],
            ]}
          />
        </CardBody>
      </Card>
    </div>
  );
}
