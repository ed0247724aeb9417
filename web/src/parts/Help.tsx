/* web/src/parts/Help.tsx: which keys do what. */
import { Modal, ModalBody, ModalHeader } from "@patternfly/react-core";
import { t, type TextKey } from "@/core/text";

const KEYS: [string, TextKey][] = [
  ["/", "help.search"],
  ["Ctrl K", "help.palette"],
  ["?", "help.help"],
  ["Esc", "help.escape"],
];

export default function Help({ onClose }: { onClose: () => void }) {
  return (
    <Modal isOpen variant="small" onClose={onClose} aria-label={t("help.title")}>
      <ModalHeader title={t("help.title")} />
      <ModalBody>
        <dl className="keys">
          {KEYS.map(([key, text]) => (
            <div key={key}>
              <dt>
                <kbd>{key}</kbd>
              </dt>
              <dd>{t(text)}</dd>
            </div>
          ))}
        </dl>
      </ModalBody>
    </Modal>
  );
}
