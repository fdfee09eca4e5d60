!(function (window, document) {
  var known, style, tag = (window.tributary = window.tributary || []);
  "page track identify group alias reset ready on consent segments onSegment".split(" ").forEach(function (name) {
    tag[name] = tag[name] || function () { tag.push([name].concat([].slice.call(arguments))); };
  });
  // From here on only for pages with data-segment.
  var stranger = '[data-segment]:not([data-segment^="!"]){display:none!important}';
  function put(css) { style.replaceSync ? style.replaceSync(css) : (style.textContent = css); }
  tag.sheet = { replaceSync: function (css) { known = 1; put(css); } };
  try {
    style = new CSSStyleSheet();
    document.adoptedStyleSheets = [].concat.apply([style], document.adoptedStyleSheets);
  } catch (error) {
    style = document.createElement("style");
    style.nonce = document.currentScript.nonce;
    document.head.appendChild(style);
  }
  put(stranger + '[data-segment^="!"]{visibility:hidden}');
  setTimeout(function () { known || put(stranger); }, 300);
  try { tag.sheet.replaceSync(JSON.parse(localStorage.trb_css)); } catch (error) {}
})(window, document);
