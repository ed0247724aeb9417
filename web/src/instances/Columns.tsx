/* web/src/instances/Columns.tsx: the menu of columns that the table shall have. */
import { MenuToggle, Select, SelectList, SelectOption } from "@patternfly/react-core";
import { useState } from "react";
import { t } from "@/core/text";
import { CHOOSABLE, type ColumnId } from "./hidden";

const TEXTS = { kind: "instances.kind", usage: "usage.cpu", cpus: "instances.cpus", memory: "instances.memory", addresses: "instances.addresses", tags: "instances.tags", id: "overview.id" } as const;

export function Columns({ hidden, onShown }: { hidden: ColumnId[]; onShown: (id: ColumnId, shown: boolean) => void }) {
  const [open, setOpen] = useState(false);

  return (
    <Select
      role="menu"
      isOpen={open}
      onOpenChange={setOpen}
      onSelect={(_, id) => onShown(id as ColumnId, hidden.includes(id as ColumnId))}
      popperProps={{ position: "right", appendTo: "inline" }}
      toggle={(ref) => (
        <MenuToggle ref={ref} isExpanded={open} onClick={() => setOpen(!open)}>
          {t("instances.columns")}
        </MenuToggle>
      )}
    >
      <SelectList>
        {CHOOSABLE.map((id) => (
          <SelectOption key={id} value={id} hasCheckbox isSelected={!hidden.includes(id)}>
            {t(TEXTS[id])}
          </SelectOption>
        ))}
      </SelectList>
    </Select>
  );
}
