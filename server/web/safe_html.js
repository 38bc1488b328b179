// The one place where HTML becomes elements: what the server's sanitizer has made of Markdown, and nothing else.

const policy = globalThis.trustedTypes?.createPolicy("sanitized", { createHTML: (html) => html });

export function safeFragment(html) {
  const template = document.createElement("template");
  template.innerHTML = policy ? policy.createHTML(html) : html;
  for (const link of template.content.querySelectorAll("a[href^='http']")) link.target = "_blank";
  return template.content;
}
