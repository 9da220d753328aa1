// Three balls on a board, for a first try: about a second on one core. The size stands in quick.ini.
#version 3.7;
global_settings { assumed_gamma 1.0 }
#default { finish { ambient 0.06 diffuse 0.8 specular 0.5 roughness 0.01 } }

camera { location <0, 2.1, -6> right x*image_width/image_height look_at <0, 0.75, 0> angle 38 }
light_source { <-5, 8, -6> rgb <1, 0.95, 0.88> }
light_source { <6, 3, -4> rgb <0.16, 0.20, 0.30> shadowless }
sky_sphere { pigment { gradient y color_map { [0 rgb <0.92, 0.86, 0.76>] [0.7 rgb <0.28, 0.46, 0.72>] } } }

plane {
  y, 0
  pigment { checker rgb <0.85, 0.82, 0.76> rgb <0.22, 0.26, 0.30> scale 0.75 }
  finish { reflection 0.08 }
}

sphere { <-1.45, 0.8, 0.4>, 0.8 pigment { rgb <0.80, 0.12, 0.10> } finish { reflection { 0.04, 0.5 fresnel } conserve_energy } interior { ior 1.5 } }
sphere {
  <0.15, 0.7, -0.8>, 0.7
  pigment { rgbf <0.94, 0.98, 1.00, 0.95> }
  finish { diffuse 0 reflection { 0.02, 1 fresnel } conserve_energy }
  interior { ior 1.5 }
}
sphere { <1.6, 0.9, 0.7>, 0.9 pigment { granite color_map { [0 rgb <0.9, 0.7, 0.3>] [1 rgb <0.25, 0.12, 0.05>] } } normal { bumps 0.15 scale 0.12 } }
