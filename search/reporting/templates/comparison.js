"use strict";
{
  const data = JSON.parse(byId("data").textContent);
  tables(data.tables);
  pairs(data.pairs);
}
