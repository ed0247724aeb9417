/* web/src/pages/Tokens.tsx: what programs log in by, and where people are logged in. */
import { Alert, Button, Checkbox, ClipboardCopy, FormGroup, FormSelect, FormSelectOption, TextInput } from "@patternfly/react-core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { ask, list, type Call } from "@/core/api";
import { when } from "@/core/format";
import { useSession } from "@/core/session";
import { t } from "@/core/text";
import type { Key, Token } from "@/core/types";
import { Ask, Confirm } from "@/parts/Dialogs";
import { ListShell } from "./ListShell";

const DAY_S = 86400;
const DAYS = [1, 30, 90, 365];
const ROLES = ["viewer", "operator", "admin"] as const;

export default function TokensPage() {
  const tokens = useQuery({ queryKey: ["tokens"], queryFn: () => list<Token>("/1.0/tokens") });
  const queries = useQueryClient();
  const { self } = useSession();
  const [adding, setAdding] = useState(false);
  const [made, setMade] = useState<string>();
  const [ending, setEnding] = useState<Token>();
  const call: Call = { method: "DELETE", path: "/1.0/tokens/{id}", names: [ending?.id ?? ""] };
  const again = () => queries.invalidateQueries({ queryKey: ["tokens"] });

  return (
    <ListShell
      title={t("nav.tokens")}
      tools={<Button onClick={() => setAdding(true)}>{t("tokens.create")}</Button>}
      error={tokens.error}
      none={t("tokens.none")}
      head={[t("tokens.kind"), t("tokens.name"), t("login.user"), t("users.role"), t("tokens.used"), t("tokens.expires"), ""]}
      rows={tokens.data?.map((k) => ({
        key: k.id,
        cells: [
          t(k.kind === "token" ? "tokens.token" : "tokens.session") + (k.id === self.key ? ` (${t("tokens.this")})` : ""),
          k.name || k.from || "–",
          k.user,
          k.shell ? t("tokens.role_shell", { role: k.role }) : k.role,
          when(k.used),
          when(k.expires),
          <Button variant="link" isInline isDanger onClick={() => setEnding(k)} aria-label={t("tokens.end_one", { name: k.name || k.id })}>
            {t("tokens.end")}
          </Button>,
        ],
      }))}
    >
      {made && (
        <Alert component="p" isInline variant="success" title={t("tokens.made")} className="gap">
          <ClipboardCopy isReadOnly isCode hoverTip={t("copy")} clickTip={t("copied")} textAriaLabel={t("tokens.token")}>
            {made}
          </ClipboardCopy>
        </Alert>
      )}
      {adding && (
        <Create
          onMade={async (key) => {
            setMade(key);
            await again();
          }}
          onClose={() => setAdding(false)}
        />
      )}
      {ending && (
        <Confirm
          title={t("tokens.end_title")}
          lost={[t("tokens.end_lost")]}
          verb={t("tokens.end")}
          call={call}
          command={`socle token delete ${ending.id}`}
          onConfirm={async () => {
            await ask(call);
            await again();
          }}
          onClose={() => setEnding(undefined)}
        />
      )}
    </ListShell>
  );
}

function Create({ onMade, onClose }: { onMade: (key: string) => Promise<void>; onClose: () => void }) {
  const [name, setName] = useState("");
  const [role, setRole] = useState<string>("viewer");
  const [days, setDays] = useState("90");
  const [shell, setShell] = useState(false);
  const { self } = useSession();
  const withShell = shell && role === "admin";
  const call: Call = { method: "POST", path: "/1.0/tokens", body: { name, role, seconds: Number(days) * DAY_S, ...(withShell ? { shell: true } : {}) } };

  return (
    <Ask
      title={t("tokens.create")}
      verb={t("tokens.create")}
      ready={!!name}
      onDone={async () => {
        const { value } = await ask<Key>(call);
        await onMade(value.token ?? "");
      }}
      onClose={onClose}
    >
      <FormGroup label={t("tokens.name")} fieldId="token-name">
        <TextInput id="token-name" value={name} onChange={(_, v) => setName(v)} autoFocus autoComplete="off" />
      </FormGroup>
      <FormGroup label={t("users.role")} fieldId="token-role">
        <FormSelect id="token-role" value={role} onChange={(_, v) => setRole(v)}>
          {ROLES.map((r) => (
            <FormSelectOption key={r} value={r} label={t(`role.${r}`)} />
          ))}
        </FormSelect>
      </FormGroup>
      {self.shell && role === "admin" && <Checkbox id="token-shell" label={t("tokens.shell")} isChecked={shell} onChange={(_, v) => setShell(v)} />}
      <FormGroup label={t("tokens.days")} fieldId="token-days">
        <FormSelect id="token-days" value={days} onChange={(_, v) => setDays(v)}>
          {DAYS.map((d) => (
            <FormSelectOption key={d} value={d} label={t("tokens.n_days", { n: d })} />
          ))}
        </FormSelect>
      </FormGroup>
    </Ask>
  );
}
