// A ring of coloured spheres turns around a glass ball while the sun goes down: two seconds of film, cheap to render.
// It is made to be looped: with cyclic = true the frame after the last is the first.
#version 3.7;
global_settings { assumed_gamma 1.0 max_trace_level 4 }

#ifndef (Sun) #declare Sun = 50; #end  // degrees above the horizon; keyframed in task.toml

#declare Turn = 360 * clock;
#declare Light = vrotate(-20*z, <Sun, 25, 0>);

camera { location <0, 2.2, -6> right x*image_width/image_height angle 48 look_at <0, 0.1, 0> }
light_source { Light rgb <1, 0.75 + Sun/200, 0.5 + Sun/100> * 1.3 }
sky_sphere {
  pigment { gradient y color_map { [0 rgb <1, .7 + Sun/250, .5 + Sun/120>] [.5 rgb <.25, .45, .85> * (.4 + Sun/90)] } }
}
plane { y, -1 pigment { checker rgb <.85, .82, .75> rgb <.35, .4, .45> scale .7 } finish { diffuse .8 reflection .05 } }

sphere { 0, 0.95 pigment { rgbf <1, 1, 1, .92> } finish { specular .8 roughness .005 reflection { 0.05, 0.6 } } interior { ior 1.4 } }

#declare Count = 12;
#for (I, 0, Count - 1)
  #declare Angle = 360 * I / Count + Turn;
  sphere {
    <2, 0.35 * sin(radians(3 * Angle)), 0>, 0.3
    pigment { rgb <.5 + .5*cos(2*pi*I/Count), .5 + .5*cos(2*pi*(I/Count - 1/3)), .5 + .5*cos(2*pi*(I/Count - 2/3))> }
    finish { phong .6 reflection .08 }
    rotate Angle*y
  }
#end
