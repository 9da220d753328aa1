// A blossom of glass and lacquer on still water: the picture of ClusterRay's README.
// Nothing in it is random, so that every tiling gives the same pixels as one povray.
#version 3.7;
#include "petals.inc"

global_settings { assumed_gamma 1.0 max_trace_level 9 }
#default { finish { ambient 0 } }

camera {
  location <0, 4.15, -10.6>
  right x*image_width/image_height
  look_at <0, 0.72, 0>
  angle 42
}

// Dusk: a warm band over the horizon under a deep blue.
#declare Dusk = sky_sphere {
  pigment {
    gradient y
    color_map {
      [0.00 rgb <1.00, 0.50, 0.20>*0.95]
      [0.05 rgb <0.92, 0.38, 0.26>*0.66]
      [0.16 rgb <0.40, 0.20, 0.42>*0.50]
      [0.45 rgb <0.07, 0.09, 0.24>*0.55]
      [1.00 rgb <0.01, 0.02, 0.07>]
    }
  }
}
sky_sphere { Dusk }

// A low sun with a soft edge, the sky's own light, and a lamp inside of the blossom.
light_source { <-9, 7, -6>*4 rgb <1.00, 0.80, 0.58>*1.25 area_light x*9, y*9, 5, 5 adaptive 1 circular orient }
light_source { <12, 14, -2>*4 rgb <0.20, 0.30, 0.62>*0.75 shadowless }
light_source { <0, 1.15, 0> rgb <1.00, 0.62, 0.26>*1.1 fade_distance 1.4 fade_power 2 }

// Still water, with rings that run out from the middle and die away before they would flicker.
plane {
  y, 0
  pigment { rgb <0.010, 0.020, 0.045> }
  normal {
    cylindrical
    normal_map {
      [0.0 bumps 0]
      [0.7 ripples 0.06 frequency 2.4 scale 0.085]
      [1.0 ripples 0.10 frequency 2.4 scale 0.085]
    }
    scale 20
  }
  finish { diffuse 0.35 specular 0.5 roughness 0.004 reflection { 0.10, 0.88 falloff 3 } }
}

object { Blossom(420, 3.15) }

// The heart: a ball of clear glass, lit from within.
sphere {
  <0, 1.02, 0>, 0.62
  pigment { rgbf <1.00, 0.93, 0.84, 0.97> }
  finish { specular 0.9 roughness 0.001 reflection { 0.03, 0.9 fresnel } conserve_energy }
  interior { ior 1.48 fade_distance 1.5 fade_power 1001 fade_color <0.95, 0.55, 0.25> }
}
sphere {
  <0, 1.02, 0>, 0.13
  pigment { rgb <1.00, 0.66, 0.25> }
  finish { emission 1 diffuse 0 }
  no_shadow
}
