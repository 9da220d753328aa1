"""How the report looks: dark on light, one column on a phone, no shadows on paper."""

STYLE = """
:root{--ink:#1b2430;--soft:#5a6675;--line:#d9dfe6;--back:#f5f7f9;--mark:#0b6e8a}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:16px/1.5 system-ui,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:60rem;margin:0 auto;padding:1.5rem 1rem 3rem}
header p:first-child{margin:0;color:var(--mark);font-weight:600;letter-spacing:.04em;text-transform:uppercase;font-size:.8rem}
h1{margin:.1rem 0;font-size:2rem;line-height:1.2;overflow-wrap:anywhere}
header p:last-child{margin:.2rem 0 1.2rem;color:var(--soft)}
section,details{background:#fff;border:1px solid var(--line);border-radius:8px;padding:1rem 1.2rem;margin:0 0 1rem}
h2{margin:0 0 .6rem;font-size:1.15rem}
h3{margin:1rem 0 .4rem;font-size:1rem}
p{margin:.3rem 0 .6rem}
ul{margin:.3rem 0;padding-left:1.2rem}
.notes{border-left:4px solid #c77d1a}
.good{border-left:4px solid #2e8b57}
.notes li{margin:.25rem 0;overflow-wrap:anywhere}
.numbers{display:grid;grid-template-columns:repeat(auto-fill,minmax(11rem,1fr));gap:1rem 1.2rem}
.numbers b{display:block;font-size:1.2rem;line-height:1.3;font-variant-numeric:tabular-nums}
.numbers span{color:var(--soft);font-size:.85rem}
.pictures{display:grid;grid-template-columns:repeat(auto-fit,minmax(18rem,1fr));gap:1.2rem;align-items:start}
figure{margin:0}
img{display:block;width:100%;height:auto;max-height:46rem;object-fit:contain;border-radius:4px}
figcaption{color:var(--soft);font-size:.88rem;margin-top:.4rem}
.bar{display:flex;align-items:center;gap:.5rem;margin-top:.3rem}
.bar i{font-style:normal;white-space:nowrap}
.bar em{flex:1;height:.7rem;border-radius:2px;background:linear-gradient(90deg,#264678,#2a8a82,#7ab25a,#e8d682,#c4824c,#f0eeec)}
.key{list-style:none;display:flex;flex-wrap:wrap;gap:.3rem 1rem;padding:0;margin:.4rem 0 0}
.key i{display:inline-block;width:.9rem;height:.9rem;border-radius:2px;margin-right:.35rem;vertical-align:-.1rem}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.93rem}
th,td{text-align:left;padding:.35rem .8rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
th{color:var(--soft);font-weight:600}
td:first-child,th:first-child{min-width:6.5rem}
tr:last-child td{border-bottom:0}
summary{cursor:pointer;font-weight:600}
footer{color:var(--soft);font-size:.85rem;text-align:center}
@media print{body{background:#fff}section,details{border:0;padding:.4rem 0;break-inside:avoid}}
"""
