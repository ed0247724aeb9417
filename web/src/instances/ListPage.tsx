/* web/src/instances/ListPage.tsx: all instances. */
import {
  Button,
  EmptyState,
  EmptyStateActions,
  EmptyStateBody,
  EmptyStateFooter,
  FormSelect,
  FormSelectOption,
  Label,
  PageSection,
  SearchInput,
  Spinner,
  Title,
} from "@patternfly/react-core";
import { useMemo, useRef, useState } from "react";
import { Link, useSearchParams } from "react-router-dom";
import { useSession } from "@/core/session";
import { t, word } from "@/core/text";
import { useInstances } from "@/core/use";
import { ErrorAlert } from "@/parts/ErrorAlert";
import { Bulk } from "./Bulk";
import { Columns } from "./Columns";
import { useHidden } from "./hidden";
import { filter, tagsOf } from "./filter";
import { InstanceTable } from "./Table";

const STATES = ["running", "off", "paused", "suspended", "failed", "starting", "stopping", "creating", "deleting"];

export default function ListPage() {
  const { data, error, isPending } = useInstances();
  const [params, setParams] = useSearchParams();
  const [chosen, setChosen] = useState<Record<string, boolean>>({});
  const { self } = useSession();
  const [hidden, setShown] = useHidden();
  const box = useRef<HTMLInputElement>(null);
  const wanted = { text: params.get("q") ?? "", state: params.get("state") ?? "", tag: params.get("tag") ?? "" };
  const shown = useMemo(() => filter(data ?? [], wanted), [data, wanted.text, wanted.state, wanted.tag]);
  const tags = useMemo(() => tagsOf(data ?? []), [data]);
  const marked = useMemo(() => (data ?? []).filter((i) => chosen[i.id]), [data, chosen]);

  function set(name: string, value: string): void {
    setParams(
      (old) => {
        old.delete("search");
        if (value) old.set(name, value);
        else old.delete(name);
        return old;
      },
      { replace: true },
    );
  }

  return (
    <PageSection isFilled className="list-page">
      <div className="page-head">
        <Title headingLevel="h1">{t("nav.instances")}</Title>
        {self.admin && (
          <Button component={(p) => <Link {...p} to="/create" />} variant="primary">
            {t("create.title")}
          </Button>
        )}
      </div>
      <ErrorAlert error={error} />
      {isPending && <Spinner aria-label={t("loading")} />}
      {data?.length === 0 && (
        <EmptyState titleText={t("instances.none")} headingLevel="h2">
          <EmptyStateBody>{t("instances.none_hint")}</EmptyStateBody>
          {self.admin && (
            <EmptyStateFooter>
              <EmptyStateActions>
                <Button component={(p) => <Link {...p} to="/create" />}>{t("create.title")}</Button>
              </EmptyStateActions>
            </EmptyStateFooter>
          )}
        </EmptyState>
      )}
      {data && data.length > 0 && (
        <>
          <div className="filters" data-search>
            <SearchInput
              ref={box}
              value={wanted.text}
              onChange={(_, v) => set("q", v)}
              onClear={() => set("q", "")}
              placeholder={t("instances.search")}
              aria-label={t("instances.search")}
              autoFocus={params.has("search")}
            />
            <FormSelect value={wanted.state} onChange={(_, v) => set("state", v)} aria-label={t("instances.state")}>
              <FormSelectOption value="" label={t("instances.any_state")} />
              {STATES.map((s) => (
                <FormSelectOption key={s} value={s} label={word("state", s)} />
              ))}
            </FormSelect>
            {tags.length > 0 && (
              <FormSelect value={wanted.tag} onChange={(_, v) => set("tag", v)} aria-label={t("instances.tag")}>
                <FormSelectOption value="" label={t("instances.any_tag")} />
                {tags.map((x) => (
                  <FormSelectOption key={x} value={x} label={x} />
                ))}
              </FormSelect>
            )}
            {wanted.tag && (
              <Label color="blue" onClose={() => set("tag", "")} closeBtnAriaLabel={t("instances.any_tag")}>
                {wanted.tag}
              </Label>
            )}
            <Columns hidden={hidden} onShown={setShown} />
            <span className="shown" aria-live="polite">
              {t("instances.shown", { n: shown.length, of: data.length })}
            </span>
          </div>
          <Bulk marked={marked} onClear={() => setChosen({})} />
          <InstanceTable rows={shown} hidden={hidden} chosen={chosen} onChosen={setChosen} onTag={(tag) => set("tag", tag)} />
        </>
      )}
    </PageSection>
  );
}
