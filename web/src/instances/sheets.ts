/*
 * web/src/instances/sheets.ts: xterm.js writes its rules into <style> elements, which our policy forbids (api/web.c), as it forbids all that
 * could be put into a page.  Rules by a constructed sheet are allowed, because only a script can make one: so its <style> elements become
 * sheets.
 */

function styleElement(): HTMLElement {
  const element = document.createElement("span");
  const sheet = new CSSStyleSheet();

  element.hidden = true;
  document.adoptedStyleSheets.push(sheet);
  Object.defineProperty(element, "textContent", { set: (rules: string) => sheet.replaceSync(rules) });
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((s) => s !== sheet);
    Element.prototype.remove.call(element);
  };
  return element;
}

/* The document, but for <style>. */
export function documentWithSheets(): Document {
  return new Proxy(document, {
    get(target, key) {
      if (key === "createElement")
        return (tag: string) => (tag === "style" ? styleElement() : target.createElement(tag));
      const value: unknown = Reflect.get(target, key);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}
