// What the widget manager expects of a page, before it starts: where it is itself, since it loads its icon fonts from there,
// where it finds anywidget for widgets of our own, and MathJax 2's way to ask for typesetting. require.js takes its
// configuration from a global of this name.
{
  const here = document.currentScript.src;
  window.__jupyter_widgets_assets_path__ = new URL("html-manager/", here).href;
  const at = (path) => new URL(path, here).href;
  window.require = {
    paths: {
      anywidget: at("anywidget/index"),
      "@jupyter-widgets": at("html-manager"), // its parts take the fonts from beside where they think they lie
      "@jupyter-widgets/html-manager/dist/libembed-amd": at("html-manager/libembed-amd"),
    },
    waitSeconds: 60,
  };
}
window.addEventListener("load", () => {
  if (window.MathJax && !MathJax.Hub) MathJax.Hub = { Queue: ([, , element]) => MathJax.typesetPromise([element]) };
});
