"use strict";
// What all scripts of a page share. Everything that comes from files is set as text, never as HTML.
const byId = (id) => document.getElementById(id);

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
