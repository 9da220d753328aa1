// A ball that bounces to the beat: height and squash come from the seqFile.txt.
#version 3.7;
global_settings { assumed_gamma 1 }
#ifndef (height) #declare height = 1; #end
#ifndef (squash) #declare squash = 0; #end
camera { location <0, 1.4, -7> look_at <0, 1.4, 0> angle 58 }
light_source { <6, 9, -8> rgb 1 }
background { rgb <0.75, 0.85, 1> }
plane { y, 0 pigment { checker rgb 0.9, rgb 0.6 } }
sphere {
  0, 1
  scale <1 + squash / 2, 1 - squash, 1 + squash / 2>
  translate y * (height + 1 - squash)
  pigment { rgb <0.9, 0.25, 0.1> }
  finish { phong 0.7 }
}
