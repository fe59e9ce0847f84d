// Prints the best class of a photograph and its probability: classify SAVED_MODEL PHOTOGRAPH
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"

namespace tf = tensorflow;

absl::Status Classify(const std::string& folder, const std::string& photograph) {
  std::ifstream file(photograph, std::ios::binary);
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  tf::Tensor image_bytes(tf::DT_STRING, {1});
  image_bytes.vec<tf::tstring>()(0) = content;

  tf::SavedModelBundleLite model;
  absl::Status status = tf::LoadSavedModel({}, {}, folder, {"serve"}, &model);
  if (!status.ok()) return status;
  const tf::SignatureDef& signature = model.GetSignatures().at("serving_default");
  const auto output = [&](const char* name) { return signature.outputs().at(name).name(); };
  std::vector<tf::Tensor> outputs;
  status = model.GetSession()->Run({{signature.inputs().at("image_bytes").name(), image_bytes}},
                                   {output("probabilities"), output("classes"), output("labels")},
                                   {}, &outputs);
  if (!status.ok()) return status;
  const int best = outputs[1].matrix<int>()(0, 0);
  std::cout.precision(9);
  std::cout << best << '\t' << outputs[0].matrix<float>()(0, best) << '\t'
            << outputs[2].matrix<tf::tstring>()(0, 0) << std::endl;
  return status;
}

int main(int count, char** arguments) {
  if (count != 3) return 2;
  const absl::Status status = Classify(arguments[1], arguments[2]);
  if (!status.ok()) std::cerr << status.message() << std::endl;
  return status.ok() ? 0 : 1;
}
