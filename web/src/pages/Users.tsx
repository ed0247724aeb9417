/* web/src/pages/Users.tsx: who may log in, and what each may do. */
import { Button, Checkbox, FormGroup, FormSelect, FormSelectOption, TextInput } from "@patternfly/react-core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { ask, list, type Call } from "@/core/api";
import { t } from "@/core/text";
import type { User } from "@/core/types";
import { Ask, Confirm } from "@/parts/Dialogs";
import { ListShell } from "./ListShell";

const ROLES = ["none", "viewer", "operator", "admin"] as const;

export default function UsersPage() {
  const users = useQuery({ queryKey: ["users"], queryFn: () => list<User>("/1.0/users") });
  const queries = useQueryClient();
  const [editing, setEditing] = useState<User | "new">();
  const [deleting, setDeleting] = useState<string>();
  const call: Call = { method: "DELETE", path: "/1.0/users/{name}", names: [deleting ?? ""] };
  const again = () => queries.invalidateQueries({ queryKey: ["users"] });

  return (
    <ListShell
      title={t("nav.users")}
      tools={<Button onClick={() => setEditing("new")}>{t("users.create")}</Button>}
      error={users.error}
      none={t("users.none")}
      head={[t("login.user"), t("users.role"), t("users.grants"), t("users.login"), ""]}
      rows={users.data?.map((u) => ({
        key: u.name,
        cells: [
          u.name,
          t(`role.${u.role}`),
          u.grants?.map((g) => `${g.instance ?? `#${g.tag ?? ""}`}: ${g.role ?? ""}`).join(", ") || "–",
          u.disabled ? t("users.disabled") : u.password ? t(u.totp ? "users.with_code" : "users.with_password") : t("users.no_password"),
          <span className="labels">
            <Button variant="link" isInline onClick={() => setEditing(u)} aria-label={t("edit.one", { name: u.name })}>
              {t("edit.verb")}
            </Button>
            <Button variant="link" isInline isDanger onClick={() => setDeleting(u.name)} aria-label={t("delete.one", { name: u.name })}>
              {t("delete.verb")}
            </Button>
          </span>,
        ],
      }))}
    >
      {editing && <Edit user={editing === "new" ? undefined : editing} onDone={again} onClose={() => setEditing(undefined)} />}
      {deleting && (
        <Confirm
          title={t("delete.title", { name: deleting })}
          lost={[t("users.delete_lost")]}
          name={deleting}
          verb={t("delete.verb")}
          call={call}
          command={`socle user delete ${deleting}`}
          onConfirm={async () => {
            await ask(call);
            await again();
          }}
          onClose={() => setDeleting(undefined)}
        />
      )}
    </ListShell>
  );
}

function Edit({ user, onDone, onClose }: { user: User | undefined; onDone: () => Promise<unknown>; onClose: () => void }) {
  const [name, setName] = useState(user?.name ?? "");
  const [role, setRole] = useState<string>(user?.role ?? "viewer");
  const [password, setPassword] = useState("");
  const [disabled, setDisabled] = useState(user?.disabled ?? false);
  const body = { role, ...(password ? { password } : {}), ...(disabled || user ? { disabled } : {}) };
  const call: Call = user
    ? { method: "PATCH", path: "/1.0/users/{name}", names: [name], body }
    : { method: "POST", path: "/1.0/users", body: { name, ...body } };

  return (
    <Ask
      title={user ? t("users.edit", { name }) : t("users.create")}
      verb={t("save")}
      ready={!!name}
      onDone={async () => {
        await ask(call);
        await onDone();
      }}
      onClose={onClose}
    >
      {!user && (
        <FormGroup label={t("login.user")} fieldId="user-name">
          <TextInput id="user-name" value={name} onChange={(_, v) => setName(v)} autoFocus autoComplete="off" />
        </FormGroup>
      )}
      <FormGroup label={t("users.role")} fieldId="user-role">
        <FormSelect id="user-role" value={role} onChange={(_, v) => setRole(v)}>
          {ROLES.map((r) => (
            <FormSelectOption key={r} value={r} label={t(`role.${r}`)} />
          ))}
        </FormSelect>
      </FormGroup>
      <FormGroup label={t(user ? "users.new_password" : "login.password")} fieldId="user-password">
        <TextInput id="user-password" type="password" value={password} onChange={(_, v) => setPassword(v)} autoComplete="new-password" />
      </FormGroup>
      <Checkbox id="user-disabled" label={t("users.disabled")} isChecked={disabled} onChange={(_, v) => setDisabled(v)} />
    </Ask>
  );
}
